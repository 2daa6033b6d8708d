//! Owns the SSH key that opens the machines run here, made on first use by `ssh-keygen`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keelson_common::command::CommandExt;

use crate::accel;
use crate::credential::Credential;
use crate::error::Error;

/// A key pair on disk.
#[derive(Debug, Clone)]
pub struct Key {
    /// The private key's file.
    pub private: PathBuf,
    /// The public key, one line.
    pub public: String,
}

impl Key {
    /// The user's key for Keelson's machines, in `~/.cache/keelson/ssh`.
    pub fn own() -> Result<Self, Error> {
        let cache = accel::cache().ok_or_else(|| Error::Setting("neither XDG_CACHE_HOME nor HOME is set".into()))?;
        Self::in_dir(&cache.join("ssh"))
    }

    /// The key in that folder, made if it is not there.
    pub fn in_dir(dir: &Path) -> Result<Self, Error> {
        let private = dir.join("id_ed25519");
        if !private.exists() {
            fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "keelson run", "-f"])
                .arg(&private)
                .run()
                .map_err(|source| Error::Command { what: "cannot make an SSH key", source })?;
        }
        let file = dir.join("id_ed25519.pub");
        let public = fs::read_to_string(&file).map_err(Error::io("read", file))?;
        Ok(Self { private, public: public.trim_end().to_owned() })
    }

    /// Lets root in by this key on any image with systemd's tmpfiles, cloud-init or not.
    pub fn root_login(&self) -> Credential {
        Credential::new("ssh.authorized_keys.root", format!("{}\n", self.public))
    }

    /// A command that logs in through that port of 127.0.0.1. Host keys of throw-away machines are
    /// neither checked nor remembered.
    pub fn login(&self, user: &str, port: u16) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(&self.private).args(["-p", &port.to_string()]);
        for option in
            ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"]
        {
            ssh.args(["-o", option]);
        }
        ssh.arg(format!("{user}@127.0.0.1"));
        ssh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let first = Key::in_dir(dir.path()).unwrap();
        assert!(first.public.starts_with("ssh-ed25519 "));
        assert_eq!(Key::in_dir(dir.path()).unwrap().public, first.public);
        let line = keelson_common::command::line(&first.login("root", 2222));
        assert!(line.contains("-p 2222") && line.ends_with("root@127.0.0.1"), "{line}");
    }
}
