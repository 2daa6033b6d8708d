//! Owns the store of blobs in the cache: files named by their SHA-256, which all composes share.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::{ImageError, io_error};
use crate::resolve::local::measure;

/// The blobs.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

/// A reference from one blob to another.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// What a manifest or an index says, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Its kind.
    #[serde(default)]
    pub media_type: Option<String>,
    /// A manifest's configuration.
    pub config: Option<Descriptor>,
    /// A manifest's layers.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// An index's manifests.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
}

impl Document {
    /// All that a manifest needs beside itself.
    pub fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }
}

impl Store {
    /// The store below the cache folder; what an interrupted compose left in it is removed.
    pub fn open(cache: &Path) -> Result<Self, ImageError> {
        let folder = cache.join("images");
        let blobs = folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(io_error("make the folder", &blobs))?;
        let work = folder.join("work");
        match fs::remove_dir_all(&work) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &work)(error)),
            _ => Ok(Self { folder }),
        }
    }

    /// An empty folder to copy an image into.
    pub fn work(&self) -> Result<tempfile::TempDir, ImageError> {
        let work = self.folder.join("work");
        fs::create_dir_all(&work).map_err(io_error("make the folder", &work))?;
        tempfile::tempdir_in(&work).map_err(io_error("make a folder in", &work))
    }

    /// Where the blob of a digest (`sha256:…`) is, or would be.
    pub fn path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(hexadecimal(digest))
    }

    /// Puts bytes in; gives their digest.
    pub fn put(&self, bytes: &[u8]) -> Result<String, ImageError> {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        let path = self.path(&digest);
        keelson_common::fs::atomic_write(&path, bytes, 0o644).map_err(io_error("write", &path))?;
        Ok(digest)
    }

    /// Takes in what skopeo copied into the folder `from` (its `dir` transport); gives the digest of
    /// the manifest. A blob that is not what its name says does not get in.
    pub fn take(&self, from: &Path) -> Result<String, ImageError> {
        let path = from.join("manifest.json");
        let manifest = fs::read(&path).map_err(io_error("read", &path))?;
        for part in parse(&manifest, &path)?.parts() {
            let (blob, target) = (from.join(hexadecimal(&part.digest)), self.path(&part.digest));
            let (_, found) = measure(&blob).map_err(io_error("read", &blob))?;
            if found != hexadecimal(&part.digest) {
                let damaged = io::Error::new(io::ErrorKind::InvalidData, format!("its SHA-256 is {found}"));
                return Err(io_error("use the layer", &blob)(damaged));
            }
            let synced = File::open(&blob).and_then(|file| file.sync_all()).and_then(|()| fs::rename(&blob, &target));
            synced.map_err(io_error("move into the store", &target))?;
        }
        self.put(&manifest)
    }

    /// The manifest or index of a digest; `None` when it is not here, or damaged.
    pub fn document(&self, digest: &str) -> Option<Document> {
        let bytes = fs::read(self.path(digest)).ok()?;
        let whole = hex::encode(Sha256::digest(&bytes)) == hexadecimal(digest);
        if whole { serde_json::from_slice(&bytes).ok() } else { None }
    }

    /// Whether the manifest of this digest is here with all it needs, as far as sizes tell; their
    /// digests are checked when they are put into a root.
    pub fn has(&self, digest: &str) -> bool {
        let there =
            |part: &Descriptor| fs::metadata(self.path(&part.digest)).is_ok_and(|found| found.len() == part.size);
        self.document(digest).is_some_and(|document| document.config.is_some() && document.parts().all(there))
    }
}

/// Reads a manifest or an index.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Document, ImageError> {
    let broken = |error: serde_json::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    serde_json::from_slice(bytes).map_err(|error| io_error("understand the image manifest", path)(broken(error)))
}

/// The digest without `sha256:`.
pub fn hexadecimal(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}
