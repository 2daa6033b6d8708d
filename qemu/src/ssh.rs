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
        let (private, file) = (dir.join("id_ed25519"), dir.join("id_ed25519.pub"));
        if !file.exists() {
            fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
            make(dir, &private, &file)?;
        }
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

/// Makes both files, unless somebody else has meanwhile. The public one, which is looked for, is there last.
fn make(dir: &Path, private: &Path, public: &Path) -> Result<(), Error> {
    let lock = fs::File::create(dir.join(".lock")).map_err(Error::io("lock", dir))?;
    lock.lock().map_err(Error::io("lock", dir))?;
    if public.exists() {
        return Ok(());
    }
    let work = tempfile::tempdir_in(dir).map_err(Error::io("make a folder in", dir))?;
    let made = work.path().join("key");
    Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "keelson run", "-f"])
        .arg(&made)
        .run()
        .map_err(|source| Error::Command { what: "cannot make an SSH key", source })?;
    fs::rename(&made, private).map_err(Error::io("write", private))?;
    fs::rename(made.with_extension("pub"), public).map_err(Error::io("write", public))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_whole_whoever_else_makes_it_and_wherever_that_ended() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("id_ed25519"), "half").unwrap();
        let keys: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| Key::in_dir(dir.path()).unwrap().public)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]) && keys[0].starts_with("ssh-ed25519 "), "{keys:?}");
        let derived = Command::new("ssh-keygen").arg("-y").arg("-f").arg(dir.path().join("id_ed25519")).output_text();
        assert_eq!(derived.unwrap().trim(), keys[0]);
    }

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
