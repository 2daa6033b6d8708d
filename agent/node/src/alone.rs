//! Owns that a machine is a node once: the daemon, and what takes the node apart, hold its folder.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Why the node's folder cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// Somebody has it.
    #[error("{} is held by another keeld-node: the daemon runs (systemctl stop keelson-node), or a `leave` does", .0.display())]
    Held(PathBuf),
    /// It cannot be made or opened.
    #[error("cannot use {}", .0.display())]
    Folder(PathBuf, #[source] io::Error),
}

/// The folder is this program's for as long as this is kept, and not beyond its end however it ends.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "holds the lock")] File);

/// Takes the folder that the node runs in, `run`, which is made where it is missing.
pub fn alone(run: &Path) -> Result<Alone, AloneError> {
    let problem = |error| AloneError::Folder(run.to_owned(), error);
    fs::create_dir_all(run).map_err(problem)?;
    let folder = File::open(run).map_err(problem)?;
    match folder.try_lock() {
        Ok(()) => Ok(Alone(folder)),
        Err(TryLockError::WouldBlock) => Err(AloneError::Held(run.to_owned())),
        Err(TryLockError::Error(error)) => Err(problem(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let first = alone(&run).unwrap();
        assert!(alone(&run).unwrap_err().to_string().contains("systemctl stop keelson-node"));
        drop(first);
        alone(&run).unwrap();
    }
}
