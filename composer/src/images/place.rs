//! Owns the images in the root: one OCI layout, `/usr/lib/keelson/images`, whose blobs images share.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::LockedImage;
use super::error::{ImageError, io_error};
use super::store::{Store, hexadecimal};
use crate::lock::Lock;
use crate::resolve::local::DigestWriter;

/// Where the layout is, below the root.
pub const FOLDER: &str = "usr/lib/keelson/images";

/// Writes the images of the lock into `root`; nothing when there are none. Every blob is checked on
/// its way.
pub fn place(lock: &Lock, cache: &Path, root: &Path) -> Result<(), ImageError> {
    if lock.images.is_empty() {
        return Ok(());
    }
    let store = Store::open(cache)?;
    let folder = root.join(FOLDER);
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(io_error("make the folder", &blobs))?;
    let mut digests = BTreeSet::new();
    let mut entries = Vec::new();
    for image in &lock.images {
        entries.push(entry(image, &store)?);
        digests.extend([image.digest.clone(), image.manifest.clone()]);
        let document = store.document(&image.manifest);
        digests.extend(document.iter().flat_map(|document| document.parts()).map(|part| part.digest.clone()));
    }
    digests.iter().try_for_each(|digest| copy(&store, digest, &blobs.join(hexadecimal(digest))))?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    write(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    write(&folder.join("index.json"), index.to_string().as_bytes())
}

/// What the layout's index says of an image.
fn entry(image: &LockedImage, store: &Store) -> Result<Value, ImageError> {
    let path = store.path(&image.digest);
    let bytes = fs::read(&path).map_err(io_error("read", &path))?;
    let document = super::store::parse(&bytes, &path)?;
    let oci = match document.manifests.is_empty() {
        true => "application/vnd.oci.image.manifest.v1+json",
        false => "application/vnd.oci.image.index.v1+json",
    };
    Ok(json!({
        "mediaType": document.media_type.as_deref().unwrap_or(oci),
        "digest": image.digest,
        "size": bytes.len(),
        // The first is how containerd writes the whole name, the second how podman and skopeo do.
        "annotations": {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": image.name,
        },
    }))
}

/// Copies a blob of the store, unless it is damaged.
fn copy(store: &Store, digest: &str, target: &Path) -> Result<(), ImageError> {
    let source = store.path(digest);
    let mut from = File::open(&source).map_err(io_error("read", &source))?;
    let mut to = File::create(target).map_err(io_error("write", target))?;
    let mut hash = Sha256::new();
    let mut both = Both { file: &mut to, digest: DigestWriter(&mut hash) };
    io::copy(&mut from, &mut both).map_err(io_error("write", target))?;
    let found = hex::encode(hash.finalize());
    if found != hexadecimal(digest) {
        fs::remove_file(&source).map_err(io_error("remove the damaged", &source))?;
        let damaged = io::Error::new(
            io::ErrorKind::InvalidData,
            format!("its SHA-256 is {found}: it was damaged and is removed; compose again to fetch it anew"),
        );
        return Err(io_error("use the blob", &source)(damaged));
    }
    fs::set_permissions(target, fs::Permissions::from_mode(0o644)).map_err(io_error("write", target))
}

struct Both<'a, D> {
    file: &'a mut File,
    digest: DigestWriter<'a, D>,
}

impl<D: Digest> Write for Both<'_, D> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.digest.write_all(&buffer[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    fs::write(path, bytes).map_err(io_error("write", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(io_error("write", path))
}
