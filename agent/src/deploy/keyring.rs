//! Owns which keys a file holds, and making keyrings of them, by `gpg`, which libostree's own verification needs too.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use keelson_common::command::CommandExt;
use tempfile::{NamedTempFile, TempDir};

use super::error::DeployError;

/// The fingerprints of the primary keys in an armored or binary key file.
pub fn fingerprints(file: &Path) -> Result<Vec<String>, DeployError> {
    let home = home()?;
    let listing = gpg(&home).args(["--with-colons", "--show-keys"]).arg(file).output_text()?;
    Ok(primary(&listing))
}

/// The fingerprints of the primary keys in what a key file holds; there must be one.
pub fn fingerprints_in(keys: &[u8]) -> Result<Vec<String>, DeployError> {
    let file = file_with(keys)?;
    match fingerprints(file.path()) {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(DeployError::BadKey),
    }
}

/// The keyring, as libostree reads it, of all keys in what a key file holds.
pub fn made_of(keys: &[u8]) -> Result<Vec<u8>, DeployError> {
    let all = fingerprints_in(keys)?;
    export(file_with(keys)?.path(), &all)
}

/// The keyring of a file without some of its keys; empty where none is left.
pub fn without(file: &Path, gone: &[String]) -> Result<Vec<u8>, DeployError> {
    let all = fingerprints(file)?;
    if let Some(unknown) = gone.iter().find(|key| !all.contains(key)) {
        return Err(DeployError::NoKey { fingerprint: unknown.clone() });
    }
    let kept: Vec<String> = all.into_iter().filter(|key| !gone.contains(key)).collect();
    if kept.is_empty() { Ok(Vec::new()) } else { export(file, &kept) }
}

/// The keyring of those keys of a file, each of them.
fn export(file: &Path, keys: &[String]) -> Result<Vec<u8>, DeployError> {
    let home = home()?;
    gpg(&home).arg("--import").arg(file).run()?;
    let keyring = gpg(&home).arg("--export").args(keys).capture()?.stdout;
    let held: BTreeSet<String> = fingerprints_in(&keyring).unwrap_or_default().into_iter().collect();
    let wanted: BTreeSet<String> = keys.iter().cloned().collect();
    if held == wanted { Ok(keyring) } else { Err(DeployError::KeysLost) }
}

fn gpg(home: &TempDir) -> Command {
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--quiet", "--no-options", "--no-autostart", "--homedir"]).arg(home.path());
    gpg
}

/// gpg wants a home it may write to, and must not look at root's.
fn home() -> Result<TempDir, DeployError> {
    tempfile::tempdir().map_err(no_room)
}

fn file_with(keys: &[u8]) -> Result<NamedTempFile, DeployError> {
    let mut file = NamedTempFile::new().map_err(no_room)?;
    file.write_all(keys).map_err(no_room)?;
    Ok(file)
}

fn no_room(source: io::Error) -> DeployError {
    DeployError::Io { path: std::env::temp_dir(), source }
}

/// The fingerprints that follow a `pub` record in gpg's colon listing.
fn primary(listing: &str) -> Vec<String> {
    let mut awaited = false;
    let mut found = Vec::new();
    for line in listing.lines() {
        let mut fields = line.split(':');
        match fields.next() {
            Some("pub") => awaited = true,
            Some("sub") => awaited = false,
            Some("fpr") if awaited => {
                awaited = false;
                found.extend(fields.nth(8).filter(|text| !text.is_empty()).map(String::from));
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_primary_key_of_each() {
        let listing = "pub:u:2048:1:4EE5:1:::::::scSC::::::23::0:\nfpr:::::::::AAAA:\nuid:u::::1::X::Me::::::::::0:\n\
            sub:u:2048:1:11:1::::::e::::::23:\nfpr:::::::::BBBB:\npub:u:255:22:1:1:::::::scSC:::::ed25519:::0:\nfpr:::::::::CCCC:\n";
        assert_eq!(primary(listing), ["AAAA", "CCCC"]);
        assert!(primary("").is_empty());
    }
}
