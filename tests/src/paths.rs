//! Owns where things are: the checkout, the built programs, the folder tests keep between runs.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The top of the checkout.
pub fn workspace() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().unwrap_or(crate_folder).to_owned()
}

/// A program of the workspace, built with the test or program that asks: `program("keelson")`.
pub fn program(name: &str) -> Result<PathBuf> {
    let test = env::current_exe().context("cannot tell where this test runs from")?;
    // target/release/deps/vm-0123 -> target/release/keelson, and the same from target/release/bench-boot
    let folders = test.ancestors().skip(1).take(2);
    match folders.map(|folder| folder.join(name)).find(|path| path.exists()) {
        Some(path) => Ok(path),
        None => bail!("{name} is not built beside {}: run `cargo build --release --workspace`", test.display()),
    }
}

/// A shipped manifest: `manifest("host.toml")`.
pub fn manifest(name: &str) -> PathBuf {
    workspace().join("manifests").join(name)
}

/// The folder of downloads and compiled fixtures that composes share, kept between runs.
pub fn cache() -> PathBuf {
    workspace().join(".cache")
}

/// A folder below [`cache`] that only tests use, made when missing.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let path = cache().join("tests").join(name);
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// Waits until no other process holds the lock `name`; it is free again when the file is dropped.
pub fn lock(name: &str) -> Result<File> {
    let path = scratch("locks")?.join(name);
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
