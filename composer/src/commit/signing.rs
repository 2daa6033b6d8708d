//! Owns the signing key: a GnuPG home outside every repository, with a development key that is
//! made on first use and said to be one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use keelson_common::command::{CommandError, CommandExt};

/// The name on keys made by this program.
const DEVELOPMENT: &str = "Keelson development key (this machine only)";

/// The fingerprint of the key to sign with: the first secret key of the home, made if there is none.
pub fn ensure_key(home: &Path) -> Result<String, CommandError> {
    if let Some(key) = secret_key(home)? {
        return Ok(key);
    }
    let io = |source| CommandError::Spawn { command: format!("make the folder {}", home.display()), source };
    fs::create_dir_all(home).map_err(io)?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o700)).map_err(io)?;
    gpg(home).args(["--passphrase", "", "--quick-generate-key", DEVELOPMENT, "ed25519", "sign", "never"]).run()?;
    eprintln!(
        "keelson: made a development signing key in {} (set KEELSON_GNUPGHOME to sign with a key of your own)",
        home.display()
    );
    secret_key(home)?.ok_or_else(|| CommandError::NotUtf8 { command: "gpg --list-secret-keys".to_owned() })
}

/// The public keys of the home, as `gpg --export` gives them; empty when there are none.
pub fn public_keys(home: &Path) -> Result<Vec<u8>, CommandError> {
    Ok(gpg(home).arg("--export").capture()?.stdout)
}

fn secret_key(home: &Path) -> Result<Option<String>, CommandError> {
    if !home.is_dir() {
        return Ok(None);
    }
    let listing = gpg(home).args(["--with-colons", "--list-secret-keys"]).output_text()?;
    Ok(fingerprint(&listing))
}

/// The first fingerprint in `gpg --with-colons` output.
fn fingerprint(listing: &str) -> Option<String> {
    listing.lines().find_map(|line| line.strip_prefix("fpr:")).map(|rest| rest.trim_matches(':').to_owned())
}

fn gpg(home: &Path) -> Command {
    let mut gpg = Command::new("gpg");
    gpg.arg("--homedir").arg(home).args(["--batch", "--quiet", "--pinentry-mode", "loopback"]);
    gpg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_fingerprint() {
        let listing = "sec:u:255:22:AA:1:::u:::scESC:::+:::23::0:\nfpr:::::::::ABCDEF:\ngrp:::::::::12:\n";
        assert_eq!(fingerprint(listing).as_deref(), Some("ABCDEF"));
    }
}
