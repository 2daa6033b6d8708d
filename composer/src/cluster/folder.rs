//! Owns where clusters are kept, a folder each, and that one command at a time changes one.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::plan::check_name;
use super::state::Cluster;

/// The folder of all clusters, made when there is none: `$XDG_STATE_HOME/keelson/clusters`, or below
/// `~/.local/state`. It has no links in its path.
pub fn base() -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let path = state.context("neither XDG_STATE_HOME nor HOME is set")?.join("keelson/clusters");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.and_then(|()| path.canonicalize()).with_context(|| format!("cannot make {}", path.display()))
}

/// The folder of one cluster.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    name: String,
}

impl Folder {
    /// The folder that a cluster of that name has, or would have.
    pub fn of(base: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        Ok(Self { path: base.join(name), name: name.to_owned() })
    }

    /// Makes it, for its owner's eyes alone.
    pub fn make(&self) -> Result<()> {
        let made = DirBuilder::new().mode(0o700).create(&self.path);
        made.with_context(|| format!("cannot make {}", self.path.display()))
    }

    /// Removes it, all that is in it, and the kubeconfig outside; what is gone is no error.
    pub fn remove(&self) -> Result<()> {
        if let Some(further) = self.further_kubeconfig() {
            fs::remove_file(&further).with_context(|| format!("cannot remove {}", further.display()))?;
        }
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The cluster in it.
    pub fn cluster(&self) -> Result<Cluster> {
        if !self.path.exists() {
            bail!("there is no cluster {}: `keelson cluster list` shows those that there are", self.name);
        }
        Cluster::read(&self.cluster_file())
            .with_context(|| format!("`keelson cluster down --name {}` clears away what is left of it", self.name))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the cluster is.
    pub fn cluster_file(&self) -> PathBuf {
        self.path.join("cluster.json")
    }

    /// The kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// The kubeconfig outside the folder, where it still is as we wrote it.
    pub fn further_kubeconfig(&self) -> Option<PathBuf> {
        let path = self.cluster().ok()?.kubeconfig?;
        let (ours, theirs) = (fs::read(self.kubeconfig()).ok()?, fs::read(&path).ok()?);
        (ours == theirs).then_some(path)
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.path.join("ca.crt")
    }

    /// The administrator's certificate and key.
    pub fn administrator(&self) -> (PathBuf, PathBuf) {
        (self.path.join("admin.crt"), self.path.join("admin.key"))
    }

    /// Where the key is that opens its machines.
    pub fn ssh(&self) -> PathBuf {
        self.path.join("ssh")
    }

    /// The disk that the machines' disks stand on.
    pub fn disk(&self) -> PathBuf {
        self.path.join("base.disk")
    }

    /// The folder of a machine.
    pub fn machine(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The names of the clusters that there are, whole or not.
pub fn names(base: &Path) -> Vec<String> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| check_name(name).is_ok());
    names.sort();
    names
}

/// Held while a command changes a cluster; dropping it lets the next one in.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a cluster; fails at once when another command has it.
    pub fn take(base: &Path, name: &str) -> Result<Self> {
        let path = lock_file(base, name);
        let cannot = || format!("cannot lock {}", path.display());
        loop {
            let file = File::create(&path).with_context(cannot)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => bail!(
                    "another `keelson cluster` command is at work on {name}; wait for it, or end it with Ctrl-C where it runs"
                ),
                Err(TryLockError::Error(error)) => return Err(error).with_context(cannot),
            }
            // Who had it before may have removed the file in between: then it locks nothing.
            let held = file.metadata().with_context(cannot)?.ino();
            if fs::metadata(&path).is_ok_and(|now| now.ino() == held) {
                return Ok(Self { _file: file, path });
            }
        }
    }
}

/// Whether a command is at work on a cluster.
pub fn is_locked(base: &Path, name: &str) -> bool {
    let file = File::open(lock_file(base, name));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock_file(base: &Path, name: &str) -> PathBuf {
    base.join(format!(".{name}.lock"))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is held. A file that stays is taken by the next command.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_command_at_a_time() {
        let base = tempfile::tempdir().unwrap();
        let lock = Lock::take(base.path(), "one").unwrap();
        let error = Lock::take(base.path(), "one").unwrap_err().to_string();
        assert!(error.contains("another `keelson cluster` command is at work on one"), "{error}");
        assert!(is_locked(base.path(), "one") && !is_locked(base.path(), "two"));
        assert!(Lock::take(base.path(), "two").is_ok());
        drop(lock);
        assert!(Lock::take(base.path(), "one").is_ok());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_is_private_and_goes_whole() {
        let base = tempfile::tempdir().unwrap();
        let folder = Folder::of(base.path(), "one").unwrap();
        assert!(folder.cluster().unwrap_err().to_string().contains("there is no cluster one"));
        folder.make().unwrap();
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(format!("{:#}", folder.cluster().unwrap_err()).contains("cluster down --name one"));
        assert_eq!(names(base.path()), ["one"]);
        folder.remove().unwrap();
        folder.remove().unwrap();
        assert!(Folder::of(base.path(), "../one").is_err());
    }
}
