//! Owns files of JSON that keeld's parts remember things in: read leniently, since nothing may depend on them
//! being there, and written at one stroke.

use std::io;
use std::path::Path;

use anyhow::Context;
use keelson_common::fs::atomic_write;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads one; nothing is known where there is no file, or none that can be understood.
pub fn read<T: DeserializeOwned + Default>(path: &Path) -> anyhow::Result<T> {
    // As bytes: what is no text at all is damaged, too.
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
            tracing::warn!("{} is damaged and begun anew: {error}", path.display());
            T::default()
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes one, durably, and makes the folder above it.
pub fn write<T: Serialize>(path: &Path, what: &T) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let text = serde_json::to_string_pretty(what)?;
    atomic_write(path, text.as_bytes(), 0o644).with_context(|| format!("cannot write {}", path.display()))
}
