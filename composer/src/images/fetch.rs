//! Owns getting locked images into the store.

use std::path::Path;

use super::LockedImage;
use super::error::{ImageError, io_error};
use super::resolve::{into_store, skopeo_error, source};
use super::store::Store;
use crate::lock::Lock;
use crate::manifest::{Image, Manifest};
use crate::progress::Progress;
use crate::resolve::local::measure;

/// Makes sure that archives are still what was locked, also while the store has the old ones.
pub fn check_archives(lock: &Lock, manifest: &Manifest) -> Result<(), ImageError> {
    for image in &manifest.images {
        let locked = locked(lock, image)?;
        let (Some(path), Some(expected)) = (&image.archive, &locked.archive) else { continue };
        let (_, found) = measure(path).map_err(io_error("read the archive", path))?;
        if found != *expected {
            return Err(differs(image, "archive's SHA-256", &found, expected));
        }
    }
    Ok(())
}

/// Gets every image of the lock into the store below `cache`; those that are there need no network.
pub fn fetch(lock: &Lock, manifest: &Manifest, cache: &Path, progress: &Progress) -> Result<(), ImageError> {
    if manifest.images.is_empty() {
        return Ok(());
    }
    let _fetching = progress.step("Fetching images");
    let store = Store::open(cache)?;
    manifest.images.iter().try_for_each(|image| one(image, locked(lock, image)?, &manifest.architecture, &store))
}

fn one(image: &Image, locked: &LockedImage, architecture: &str, store: &Store) -> Result<(), ImageError> {
    if !store.has(&locked.manifest) {
        let source = source(image, Some(&locked.digest))?;
        let found = into_store(image, &source, architecture, store)?;
        if found != locked.manifest {
            return Err(differs(image, "digest", &found, &locked.manifest));
        }
    }
    if locked.digest == locked.manifest {
        return Ok(());
    }
    if store.document(&locked.digest).is_none() {
        let raw = source(image, Some(&locked.digest))?.raw().map_err(|source| skopeo_error(image, source))?;
        let found = store.put(&raw)?;
        if found != locked.digest {
            return Err(differs(image, "digest", &found, &locked.digest));
        }
    }
    let index = store.document(&locked.digest);
    if !index.is_some_and(|index| index.manifests.iter().any(|entry| entry.digest == locked.manifest)) {
        return Err(ImageError::Unusable {
            site: image.site.clone(),
            name: image.name.clone(),
            why: format!("the index {} does not name the manifest {}", locked.digest, locked.manifest),
        });
    }
    Ok(())
}

fn locked<'a>(lock: &'a Lock, image: &Image) -> Result<&'a LockedImage, ImageError> {
    let found = lock.images.iter().find(|locked| locked.name == image.name);
    found.ok_or_else(|| ImageError::NotLocked { site: image.site.clone(), name: image.name.clone() })
}

fn differs(image: &Image, what: &'static str, found: &str, expected: &str) -> ImageError {
    ImageError::Differs {
        site: image.site.clone(),
        name: image.name.clone(),
        what,
        found: found.to_owned(),
        expected: expected.to_owned(),
    }
}
