//! Owns the lower layer's place in the cache and the overlay that puts the upper one over it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use sha2::{Digest, Sha256};

use crate::lock::LockedPackage;

/// How many lower layers are kept.
const KEPT: usize = 3;
/// Raised when unpacking or configuring changes what a layer looks like.
const GENERATION: u32 = 2;

/// Gives this process mounts of its own, which end with it however it ends. Call it before any
/// thread is started: only the calling thread and those it starts later are moved.
pub fn private_mounts() -> io::Result<()> {
    // Only the mount namespace is left: memory, files and signal handlers stay shared with other
    // threads, so nothing that Rust relies on changes.
    #[expect(unsafe_code, reason = "unshare is unsafe for the sake of flags that are not used here")]
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// The name of a lower layer: a digest of the packages in it, in their order.
pub fn key(packages: &[&LockedPackage]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{GENERATION}\n"));
    for package in packages {
        hash.update(format!("{} {} {}\n", package.name, package.version, package.sha256));
    }
    hex::encode(&hash.finalize()[..16])
}

/// The cached layers.
pub struct Layers {
    dir: PathBuf,
}

impl Layers {
    /// Opens the folder of layers.
    pub fn open(cache: &Path) -> io::Result<Self> {
        let dir = cache.join("layers");
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// The finished layer of that name, marked as just used.
    pub fn find(&self, key: &str) -> io::Result<Option<PathBuf>> {
        let path = self.dir.join(key);
        if !path.join("done").exists() {
            return Ok(None);
        }
        fs::write(path.join("done"), "")?;
        Ok(Some(path.join("root")))
    }

    /// An empty folder to make that layer in; what an interrupted compose left there is removed.
    pub fn begin(&self, key: &str) -> io::Result<PathBuf> {
        let path = self.dir.join(key);
        remove(&path)?;
        fs::create_dir_all(path.join("root"))?;
        Ok(path.join("root"))
    }

    /// Says that the layer is finished, and drops those not used for longest.
    pub fn finish(&self, key: &str) -> io::Result<()> {
        fs::write(self.dir.join(key).join("done"), "")?;
        let mut used = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let time = fs::metadata(path.join("done")).and_then(|meta| meta.modified());
            used.push((time.unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
        used.sort();
        used.reverse();
        used.iter().skip(KEPT).try_for_each(|(_, path)| remove(path))
    }
}

/// Removes a folder, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A writable root over a lower layer; unmounted and removed when dropped.
pub struct Overlay {
    work: PathBuf,
    /// The merged root.
    pub root: PathBuf,
}

impl Overlay {
    /// Mounts an overlay over `lower`, its own parts below `work`.
    pub fn mount(lower: &Path, work: &Path) -> io::Result<Self> {
        let overlay = Self { work: work.to_owned(), root: work.join("root") };
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(work.join(part))?;
        }
        let text =
            |path: &Path| path.display().to_string().replace('\\', r"\\").replace(':', r"\:").replace(',', r"\,");
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=on,metacopy=off,xino=auto",
            text(lower),
            text(&work.join("upper")),
            text(&work.join("work"))
        );
        let options = std::ffi::CString::new(options)?;
        mount("overlay", &overlay.root, "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
        Ok(overlay)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let outcome =
            unmount(&self.root, UnmountFlags::DETACH).map_err(io::Error::from).and_then(|()| remove(&self.work));
        if let Err(error) = outcome {
            tracing::warn!("{} could not be removed: {error}", self.work.display());
        }
    }
}
