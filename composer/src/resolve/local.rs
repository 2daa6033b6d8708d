//! Owns the index of a local folder of `.deb` files, written as a flat repository beside the other
//! private files so that nothing is written into the folder itself.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ResolveError;
use crate::deb::archive::ControlArchive;

/// Writes `repository/Packages` over the `.deb` files of `folder`, reachable as `pool/`.
pub fn index(folder: &Path, repository: &Path) -> Result<(), ResolveError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| ResolveError::Prepare { path, source }
    };
    let mut text = String::new();
    for path in packages(folder).map_err(failed(folder))? {
        let archive = ControlArchive::read(&path)?;
        let (size, sha256) = measure(&path).map_err(failed(&path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        text += &archive.control.text;
        text += &format!("Filename: pool/{name}\nSize: {size}\nSHA256: {sha256}\n\n");
    }
    fs::create_dir_all(repository).map_err(failed(repository))?;
    let pool = repository.join("pool");
    match fs::remove_file(&pool) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&pool)(error)),
        _ => symlink(folder, &pool).map_err(failed(&pool))?,
    }
    fs::write(repository.join("Packages"), text).map_err(failed(repository))
}

/// The `.deb` files of a folder, sorted by name.
pub fn packages(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A file's size in bytes and its SHA-256, hexadecimal.
pub fn measure(path: &Path) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let size = io::copy(&mut file, &mut DigestWriter(&mut hash))?;
    Ok((size, hex::encode(hash.finalize())))
}

/// Feeds what is written into a digest.
pub struct DigestWriter<'a, D>(pub &'a mut D);

impl<D: Digest> io::Write for DigestWriter<'_, D> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.update(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
