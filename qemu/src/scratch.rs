//! Owns the folders that machines live in. Each is locked while its machine exists, so that what a
//! killed program left behind (disks of gigabytes) is found and removed by the next one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::Error;

/// What the folders' names begin with.
const PREFIX: &str = "keelson-vm-";
/// The file in each that is locked.
const LOCK: &str = "lock";

/// A machine's folder, removed when dropped.
pub(crate) struct Scratch {
    dir: TempDir,
    // The lock goes with it.
    _lock: File,
}

impl Scratch {
    /// A new folder below `TMPDIR`, or below `/var/tmp`: a throw-away disk may grow to gigabytes, and
    /// `/tmp` may be in memory.
    pub(crate) fn new() -> Result<Self, Error> {
        let base: PathBuf = std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into()).into();
        remove_abandoned(&base);
        Self::below(&base).map_err(Error::io("write to", base))
    }

    fn below(base: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base)?;
        // Under its name only once it is locked: nobody may take a new folder for an abandoned one.
        let unnamed = dir.path().join(".new-lock");
        let lock = File::create(&unnamed)?;
        lock.lock()?;
        fs::rename(unnamed, dir.path().join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes the folders whose lock nobody holds. One that cannot be removed, another user's for
/// example, only takes up room.
fn remove_abandoned(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let removed = fs::remove_dir_all(entry.path());
            tracing::debug!(folder = %entry.path().display(), ?removed, "a machine's folder was abandoned");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_abandoned_folders_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let living = Scratch::below(base.path()).unwrap();
        let Scratch { dir, _lock } = Scratch::below(base.path()).unwrap();
        // As after SIGKILL: the folder stays and the lock is gone.
        let abandoned = dir.keep();
        drop(_lock);
        let strange = base.path().join("keelson-vm-without-a-lock");
        fs::create_dir(&strange).unwrap();
        remove_abandoned(base.path());
        assert!(living.path().exists() && strange.exists());
        assert!(!abandoned.exists());
    }

    #[test]
    fn a_dropped_machine_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        drop(Scratch::below(base.path()).unwrap());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
