//! Owns the folder an image is made in: beside the output, so that the result is renamed into
//! place, and removed whatever happens. A folder left by a run that was killed is removed by the
//! next one; a lock tells it from one in use.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, IFlags, flock, ioctl_getflags, ioctl_setflags};
use tempfile::TempDir;

use crate::ImageError;

const PREFIX: &str = ".keelson-image-";
const LOCK: &str = "lock";

/// A temporary folder that can be removed although libostree made parts of it immutable.
pub struct WorkDir {
    dir: TempDir,
    _lock: File,
}

impl WorkDir {
    /// Makes one in `parent`, and removes what earlier runs left there.
    pub fn new(parent: &Path) -> Result<Self, ImageError> {
        remove_stale(parent);
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(parent)
            .map_err(ImageError::io("make a folder in", parent))?;
        let path = dir.path().join(LOCK);
        let lock = File::create(&path).map_err(ImageError::io("create", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| ImageError::io("lock", &path)(errno.into()))?;
        Ok(Self { dir, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The sysroot inside it.
    pub fn sysroot(&self) -> PathBuf {
        self.path().join("sysroot")
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        clear_immutable(self.path());
    }
}

fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let Some(lock) = ours.then(|| File::open(path.join(LOCK)).ok()).flatten() else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            clear_immutable(&path);
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!("cannot remove {}, left by an earlier run: {error}", path.display());
            }
        }
    }
}

/// Clears the flag that libostree sets on deployment roots below `work`, without which they cannot
/// be removed. Where it fails, so will the removal, which says so.
fn clear_immutable(work: &Path) {
    let stateroots = work.join("sysroot/ostree/deploy");
    let deployments = children(&stateroots).into_iter().flat_map(|stateroot| children(&stateroot.join("deploy")));
    for deployment in deployments.filter(|path| path.is_dir()) {
        let Ok(dir) = File::open(&deployment) else { continue };
        if let Ok(flags) = ioctl_getflags(&dir)
            && flags.contains(IFlags::IMMUTABLE)
            && let Err(errno) = ioctl_setflags(&dir, flags - IFlags::IMMUTABLE)
        {
            tracing::warn!("cannot clear the immutable flag of {}: {errno}", deployment.display());
        }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_stays_and_a_stale_one_goes() {
        let parent = tempfile::tempdir().unwrap();
        let used = WorkDir::new(parent.path()).unwrap();
        let stale = parent.path().join(format!("{PREFIX}stale"));
        fs::create_dir(&stale).unwrap();
        File::create(stale.join(LOCK)).unwrap();
        let second = WorkDir::new(parent.path()).unwrap();
        assert!(used.path().exists() && second.path().exists());
        assert!(!stale.exists());
        drop(used);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
