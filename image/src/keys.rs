//! Owns the keys a host trusts: written as the keyring that libostree reads for its remote.
//!
//! libostree's own import would do, but its binding cannot say "all keys of the stream".

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

use keelson_common::command::CommandExt;
use keelson_common::commit::REMOTE;

use crate::ImageError;
use crate::tools::Tools;

/// Makes `keys` (OpenPGP public keys, binary or armoured) the only ones whose signatures the
/// repository of the sysroot in `root` accepts. `work` is a folder for scratch files.
pub fn trust(tools: &Tools, work: &Path, root: &Path, keys: &[u8]) -> Result<(), ImageError> {
    let home = work.join("gnupg");
    fs::DirBuilder::new().mode(0o700).create(&home).map_err(ImageError::io("create", &home))?;
    let file = work.join("keys");
    fs::write(&file, keys).map_err(ImageError::io("write", &file))?;
    let gpg = || {
        let mut gpg = Command::new(&tools.gpg);
        gpg.arg("--homedir").arg(&home).args(["--batch", "--quiet", "--no-autostart"]);
        gpg
    };
    gpg().arg("--import").arg(&file).run().map_err(ImageError::Keys)?;
    let keyring = gpg().arg("--export").capture()?.stdout;
    let path = root.join(format!("ostree/repo/{REMOTE}.trustedkeys.gpg"));
    fs::write(&path, keyring).map_err(ImageError::io("write", &path))
}
