//! Owns what is remembered of declared containers over a restart of the daemon: one small file each,
//! written before what it says is done.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use keelson_common::fs::atomic_write;

use super::world::Memory;
use crate::error::{Error, Result};

/// The memories, by the container's name.
#[derive(Debug)]
pub struct Keep {
    folder: PathBuf,
    all: Mutex<BTreeMap<String, Memory>>,
}

impl Keep {
    /// Reads what `folder` keeps. A file that cannot be read counts as none.
    pub fn open(folder: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::failed(format_args!("read {}", folder.display()), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut all = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(failed)?.flatten() {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
            let read = || serde_json::from_slice(&std::fs::read(&path).ok()?).ok();
            match (name, read()) {
                (Some(name), Some(memory)) => drop(all.insert(name.to_owned(), memory)),
                _ => tracing::warn!(path = %path.display(), "cannot read what was remembered of a container"),
            }
        }
        Ok(Self { folder: folder.to_owned(), all: Mutex::new(all) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Memory>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it.
    pub fn all(&self) -> BTreeMap<String, Memory> {
        self.lock().clone()
    }

    /// Changes what is remembered of `name`, on the disk first.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Memory)) -> Result<()> {
        let mut all = self.lock();
        let mut memory = all.get(name).cloned().unwrap_or_default();
        change(&mut memory);
        if all.get(name) == Some(&memory) {
            return Ok(());
        }
        let path = self.file(name);
        let failed = |why: String| Error::failed(format_args!("write {}", path.display()), why);
        let bytes = serde_json::to_vec(&memory).map_err(|error| failed(error.to_string()))?;
        atomic_write(&path, &bytes, 0o600).map_err(|error| failed(error.to_string()))?;
        all.insert(name.to_owned(), memory);
        Ok(())
    }

    /// Forgets all names but those that `keep` wants.
    pub fn forget(&self, keep: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| {
            let kept = keep(name);
            if !kept {
                std::fs::remove_file(self.file(name)).ok();
            }
            kept
        });
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_outlive_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::open(folder.path()).unwrap();
        keep.change("web", |memory| memory.restarts = 3).unwrap();
        keep.change("db", |memory| memory.again = true).unwrap();
        keep.forget(|name| name == "web");
        std::fs::write(folder.path().join("bad.json"), "{").unwrap();
        let again = Keep::open(folder.path()).unwrap();
        assert_eq!(again.all(), keep.all());
        assert_eq!(again.all()["web"].restarts, 3);
    }
}
