//! Owns which image a name stands for: what `keelson lock` writes down.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::LockedImage;
use super::error::{ImageError, io_error};
use super::skopeo::Source;
use super::store::Store;
use crate::manifest::{Image, Manifest};
use crate::resolve::local::measure;

/// Looks up every image. Asks the registries; archives are read into the store below `cache`.
pub fn resolve(manifest: &Manifest, cache: &Path) -> Result<Vec<LockedImage>, ImageError> {
    if manifest.images.is_empty() {
        return Ok(Vec::new());
    }
    let store = Store::open(cache)?;
    manifest.images.iter().map(|image| one(image, &manifest.architecture, &store)).collect()
}

/// As [`resolve`], of images from archives; the others stay as they are locked.
pub fn resolve_archives(
    manifest: &Manifest,
    locked: &[LockedImage],
    cache: &Path,
) -> Result<Vec<LockedImage>, ImageError> {
    if manifest.images.is_empty() {
        return Ok(Vec::new());
    }
    let store = Store::open(cache)?;
    let known = |image: &Image| locked.iter().find(|locked| locked.name == image.name).cloned();
    let image = |image: &Image| match (&image.archive, known(image)) {
        (None, Some(locked)) => Ok(locked),
        _ => one(image, &manifest.architecture, &store),
    };
    manifest.images.iter().map(image).collect()
}

fn one(image: &Image, architecture: &str, store: &Store) -> Result<LockedImage, ImageError> {
    let name = image.name.clone();
    if let Some(path) = &image.archive {
        let (_, sha256) = measure(path).map_err(io_error("read the archive", path))?;
        let digest = into_store(image, &source(image, None)?, architecture, store)?;
        return Ok(LockedImage { name, manifest: digest.clone(), digest, archive: Some(sha256) });
    }
    let raw = source(image, None)?.raw().map_err(|source| skopeo_error(image, source))?;
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&raw)));
    // By its digest, so that both are of the same moment.
    let manifest = into_store(image, &source(image, Some(&digest))?, architecture, store)?;
    store.put(&raw)?;
    Ok(LockedImage { name, digest, manifest, archive: None })
}

/// Copies an image into the store; gives the digest of its manifest.
pub fn into_store(image: &Image, source: &Source, architecture: &str, store: &Store) -> Result<String, ImageError> {
    let work = store.work()?;
    source.copy(architecture, work.path()).map_err(|source| skopeo_error(image, source))?;
    store.take(work.path())
}

/// Where an image comes from.
pub fn source(image: &Image, digest: Option<&str>) -> Result<Source, ImageError> {
    let path = image.archive.clone().unwrap_or_default();
    Source::of(image, digest).map_err(io_error("read the archive", &path))
}

/// What skopeo said, with the manifest's line.
pub fn skopeo_error(image: &Image, source: keelson_common::command::CommandError) -> ImageError {
    ImageError::Skopeo { site: image.site.clone(), name: image.name.clone(), source }
}
