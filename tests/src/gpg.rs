//! Owns throw-away signing keys: a GPG home in a temporary folder, gone with its agent when dropped.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;
use tempfile::TempDir;

/// A secret key in a GPG home of its own.
#[derive(Debug)]
pub struct Key {
    home: TempDir,
    fingerprint: String,
}

impl Key {
    /// Makes a key for `user`, `Somebody <somebody@keelson.invalid>`, without a passphrase.
    pub fn generate(user: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("kgpg-").tempdir()?;
        fs::set_permissions(home.path(), Permissions::from_mode(0o700))?;
        gpg(home.path())
            .args(["--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", user])
            .args(["ed25519", "sign", "never"])
            .run()?;
        let listing = gpg(home.path()).args(["--with-colons", "--list-secret-keys"]).output_text()?;
        let fingerprint = fingerprint(&listing).context("gpg lists no key after making one")?;
        Ok(Self { home, fingerprint })
    }

    /// The GPG home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The key's fingerprint, 40 hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Writes the public key, armoured, into the home and gives its path.
    pub fn export(&self) -> Result<PathBuf> {
        let path = self.home().join("public.asc");
        let output = gpg(self.home()).args(["--armor", "--export", &self.fingerprint]).output_text()?;
        fs::write(&path, output)?;
        Ok(path)
    }

    /// Signs `file` in one of gpg's ways (`--clear-sign`, `--detach-sign`) into `signed`.
    pub fn sign(&self, how: &str, file: &Path, signed: &Path) -> Result<()> {
        let mut command = gpg(self.home());
        command.args(["--yes", "--armor", "--local-user", &self.fingerprint, "--output"]).arg(signed);
        Ok(command.arg(how).arg(file).run()?)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let mut stop = Command::new("gpgconf");
        stop.arg("--homedir").arg(self.home.path()).args(["--kill", "all"]);
        if let Err(error) = stop.run() {
            eprintln!("the agent of {} goes on running: {error}", self.home.path().display());
        }
    }
}

fn gpg(home: &Path) -> Command {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--quiet", "--homedir"]).arg(home);
    command
}

fn fingerprint(listing: &str) -> Option<String> {
    listing.lines().find_map(|line| line.strip_prefix("fpr:")).map(|rest| rest.trim_matches(':').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpgv_accepts_what_the_key_signed() {
        let key = Key::generate("Test <test@keelson.invalid>").unwrap();
        let (file, signed) = (key.home().join("file"), key.home().join("file.asc"));
        fs::write(&file, "text").unwrap();
        key.sign("--clear-sign", &file, &signed).unwrap();
        let ring = key.home().join("ring.gpg");
        gpg(key.home()).arg("--output").arg(&ring).arg("--export").run().unwrap();
        Command::new("gpgv").arg("--keyring").arg(&ring).arg(&signed).run().unwrap();
        assert_eq!(key.fingerprint().len(), 40);
    }
}
