//! Owns where a log lies while it is read. A container that removes itself at its end does so while
//! a client still reads its last lines: its log then moves aside, and goes with its last reader.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// The folder of a log; every reader has a share of it.
#[derive(Debug)]
pub struct Folder(RwLock<Place>);

#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// The container is gone.
    doomed: bool,
}

impl Folder {
    /// The log at `path`, where there need be none yet.
    pub fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Place { path, doomed: false })))
    }

    /// Looks into it; it does not move meanwhile.
    pub fn with<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner).path)
    }

    /// From now on the log is another.
    pub fn set(&self, path: PathBuf) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).path = path;
    }

    /// Moves the log to `aside`, where it stays until the last share of this is gone.
    pub fn doom(&self, aside: &Path) -> io::Result<()> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(parent) = aside.parent() {
            std::fs::create_dir_all(parent)?;
        }
        match std::fs::rename(&place.path, aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        *place = Place { path: aside.to_owned(), doomed: true };
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let place = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if place.doomed
            && let Err(error) = std::fs::remove_dir_all(&place.path)
        {
            tracing::warn!(path = %place.path.display(), %error, "cannot remove the log of a removed container");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doomed_log_goes_with_its_last_reader() {
        let dir = tempfile::tempdir().unwrap();
        let (log, aside) = (dir.path().join("c/log"), dir.path().join("gone/c"));
        std::fs::create_dir_all(&log).unwrap();
        std::fs::write(log.join("file"), "last words").unwrap();
        let folder = Folder::new(log.clone());
        let reader = folder.clone();
        folder.doom(&aside).unwrap();
        drop(folder);
        assert!(!log.exists());
        assert_eq!(reader.with(|path| std::fs::read_to_string(path.join("file"))).unwrap(), "last words");
        drop(reader);
        assert!(!aside.exists());
    }

    #[test]
    fn without_a_log_there_is_nothing_to_move() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("log"));
        folder.doom(&dir.path().join("gone/c")).unwrap();
        drop(folder);
        assert!(!dir.path().join("gone/c").exists());
    }
}
