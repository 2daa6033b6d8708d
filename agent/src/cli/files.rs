//! Owns reading and writing the files that keelctl keeps itself: configuration of the node, what came of a
//! host's set-up.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use keelson_common::fs::atomic_write;

/// A file's text; nothing where there is no file.
pub fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Replaces a file at one stroke, and makes the folders above it.
pub fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    atomic_write(path, text.as_bytes(), mode).with_context(|| format!("cannot write {}", path.display()))
}
