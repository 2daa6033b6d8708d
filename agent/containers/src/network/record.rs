//! Owns what is remembered of an attachment until the next boot: one small file a container.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};

use serde_json::Value;

use super::{Attached, Mode, Network};
use crate::error::{Error, Result};
use crate::paths::Paths;

/// What was attached to a container.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Record {
    /// Which network.
    pub mode: Mode,
    /// What it got.
    pub attached: Attached,
    /// The configuration and the result of the CNI plugins, which their DEL wants back.
    pub cni: Option<Value>,
}

fn folder(paths: &Paths) -> PathBuf {
    paths.run().join("network")
}

fn file(paths: &Paths, id: &str) -> PathBuf {
    folder(paths).join(format!("{id}.json"))
}

/// What earlier daemons since the last boot left; a file that cannot be read counts as none, and
/// [`Network::sweep`] clears what belongs to it.
pub(super) fn read_all(paths: &Paths) -> HashMap<String, Record> {
    let Ok(entries) = std::fs::read_dir(folder(paths)) else { return HashMap::new() };
    let read = |entry: io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let id = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
        let record = serde_json::from_slice(&std::fs::read(&path).ok()?)
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "cannot read what was attached"))
            .ok()?;
        Some((id, record))
    };
    entries.filter_map(read).collect()
}

impl Network {
    pub(super) fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers `record`. The file is renamed into place, not synced: a power cut forgets it all.
    pub(super) fn remember(&self, id: &str, record: Record) -> Result<()> {
        let path = file(&self.paths, id);
        let write = || {
            std::fs::create_dir_all(folder(&self.paths))?;
            let new = path.with_extension("new");
            std::fs::write(&new, serde_json::to_vec(&record)?)?;
            std::fs::rename(new, &path)
        };
        write().map_err(|error: io::Error| Error::failed(format!("write {}", path.display()), error))?;
        self.records().insert(id.to_owned(), record);
        Ok(())
    }

    pub(super) fn forget(&self, id: &str) -> Result<()> {
        let path = file(&self.paths, id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("remove {}", path.display()), error));
            }
            _ => {}
        }
        self.records().remove(id);
        Ok(())
    }
}
