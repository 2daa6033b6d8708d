//! Owns the digest of a manifest: SHA-256 over everything written in it and everything it points
//! at on the build machine, the same wherever the checkout lies.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Manifest;
use super::error::ManifestError;
use super::files::{Entry, EntryKind};

impl Manifest {
    /// SHA-256, hexadecimal, over a canonical JSON of the effective manifest, the content and
    /// modes of all it copies, and its repositories' keys. Local `.deb` files are not part of it:
    /// the lock holds their hashes. Fails when something it points at cannot be read.
    pub fn digest(&self) -> Result<String, ManifestError> {
        let files = self.files.iter().map(|file| {
            let entries = file.entries()?;
            entries.iter().map(entry_json).collect::<Result<Vec<_>, _>>()
        });
        let keys = self.repositories.iter().map(|repository| repository.key.as_deref().map(hash_file).transpose());
        let document = json!({
            "manifest": serde_json::to_value(self)?,
            "files": files.collect::<Result<Vec<_>, _>>()?,
            "keys": keys.collect::<Result<Vec<_>, _>>()?,
        });
        Ok(hex::encode(Sha256::digest(serde_json::to_vec(&document)?)))
    }
}

fn entry_json(entry: &Entry) -> Result<Value, ManifestError> {
    let kind = match &entry.kind {
        EntryKind::Dir => json!("dir"),
        EntryKind::File(path) => json!({ "sha256": hash_file(path)? }),
        EntryKind::Text(text) => json!({ "sha256": hex::encode(Sha256::digest(text)) }),
        EntryKind::Link(link) => json!({ "link": link.to_string_lossy() }),
    };
    Ok(json!([entry.target, entry.mode, kind]))
}

fn hash_file(path: &Path) -> Result<String, ManifestError> {
    let content = fs::read(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
    Ok(hex::encode(Sha256::digest(content)))
}
