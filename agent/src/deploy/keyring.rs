//! Owns reading which keys a file holds, by `gpg`, which libostree's own verification needs too.

use std::path::Path;
use std::process::Command;

use keelson_common::command::CommandExt;

use super::error::DeployError;

/// The fingerprints of the primary keys in an armored or binary key file.
pub fn fingerprints(file: &Path) -> Result<Vec<String>, DeployError> {
    // gpg wants a home it may write to, and must not look at root's.
    let home = tempfile::tempdir().map_err(|source| DeployError::Io { path: std::env::temp_dir(), source })?;
    let listing = Command::new("gpg")
        .args(["--batch", "--no-options", "--no-autostart", "--with-colons", "--homedir"])
        .arg(home.path())
        .arg("--show-keys")
        .arg(file)
        .output_text()?;
    Ok(primary(&listing))
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
