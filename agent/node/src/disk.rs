//! Owns measuring what folders take of a disk: for the summary, and to know which pod takes too much.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Files and what they take of a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes of blocks.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl std::ops::Add for Space {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, inodes: self.inodes + other.inodes }
    }
}

impl std::ops::AddAssign for Space {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What a folder takes of its disk, with all below it that is on the same one.
pub async fn measured(folder: PathBuf) -> Space {
    tokio::task::spawn_blocking(move || space(&folder)).await.unwrap_or_default()
}

/// As [`measured`], on this thread. Nothing where there is no folder.
pub fn space(folder: &Path) -> Space {
    let Ok(top) = rustix::fs::lstat(folder) else { return Space::default() };
    let mut total = Space::default();
    let mut left = vec![folder.to_owned()];
    let mut linked = HashSet::new();
    while let Some(path) = left.pop() {
        let Ok(stat) = rustix::fs::lstat(&path) else { continue };
        if stat.st_dev != top.st_dev || (stat.st_nlink > 1 && !linked.insert(stat.st_ino)) {
            continue;
        }
        total += Space { bytes: u64::try_from(stat.st_blocks).unwrap_or_default() * 512, inodes: 1 };
        if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
            left.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_once_with_their_blocks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let before = space(folder.path());
        assert_eq!(before.inodes, 2);
        std::fs::write(folder.path().join("sub/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(folder.path().join("sub/file"), folder.path().join("again")).unwrap();
        let after = space(folder.path());
        assert_eq!(after.inodes, 3);
        assert!(after.bytes >= before.bytes + 100_000 && after.bytes < before.bytes + 200_000);
        assert_eq!(space(&folder.path().join("none")), Space::default());
    }
}
