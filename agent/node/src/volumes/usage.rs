//! Owns what volumes take: of the disk or of memory, and whether an emptyDir takes more than it may.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use k8s_openapi::api::core::v1::Volume;
use rustix::fs::{AtFlags, CWD, FileType};
use rustix::io::Errno;

use super::tree;
use crate::spec::quantity::Amount;

/// How deep folders are followed, each holding files open; what is deeper is not counted.
const DEEP: usize = 128;

/// What a volume takes, and what its file system has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// The volume's name in the pod.
    pub name: String,
    /// The claim it stands for, if any.
    pub claim: Option<String>,
    /// Bytes taken by the volume.
    pub used: u64,
    /// Files and folders of the volume.
    pub inodes_used: u64,
    /// Bytes of the file system.
    pub capacity: u64,
    /// Bytes of it that are free for everybody.
    pub available: u64,
    /// Inodes of the file system.
    pub inodes: u64,
    /// Inodes of it that are free.
    pub inodes_free: u64,
}

/// Measures a volume. Reads all of its folders: not for every second.
pub fn measure(path: &Path) -> io::Result<Usage> {
    let system = rustix::fs::statvfs(path)?;
    let mut count = Count::default();
    let name = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))?;
    let top = tree::open_dir(CWD, &name)?;
    let stat = rustix::fs::fstat(&top)?;
    count.add(&stat);
    count.device = stat.st_dev;
    count.walk(top.as_fd(), 0)?;
    Ok(Usage {
        name: String::new(),
        claim: None,
        used: count.bytes,
        inodes_used: count.inodes,
        capacity: system.f_blocks * system.f_frsize,
        available: system.f_bavail * system.f_frsize,
        inodes: system.f_files,
        inodes_free: system.f_ffree,
    })
}

#[derive(Default)]
struct Count {
    device: u64,
    bytes: u64,
    inodes: u64,
    /// Files with several names that were counted.
    linked: HashSet<u64>,
}

impl Count {
    fn add(&mut self, stat: &rustix::fs::Stat) {
        self.bytes += u64::try_from(stat.st_blocks).unwrap_or_default() * 512;
        self.inodes += 1;
    }

    fn walk(&mut self, dir: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        for entry in tree::entries(dir)? {
            let entry = entry?;
            let stat = match rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                // Files come and go.
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let folder = FileType::from_raw_mode(stat.st_mode).is_dir();
            let again = !folder && stat.st_nlink > 1 && !self.linked.insert(stat.st_ino);
            if stat.st_dev != self.device || again {
                continue;
            }
            self.add(&stat);
            if folder && depth < DEEP {
                match tree::open_dir(dir, entry.file_name()) {
                    Ok(child) => self.walk(child.as_fd(), depth + 1)?,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

/// Why a pod must go, if an emptyDir takes more than its limit.
pub fn excess(volume: &Volume, used: u64) -> Option<String> {
    let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
    let most = u64::try_from(Amount::of(limit).value()).ok().filter(|most| *most > 0)?;
    (used > most).then(|| format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", volume.name, limit.0))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;
    use crate::volumes::mountpoint;

    #[test]
    fn files_are_counted_once_and_not_those_of_other_file_systems() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("v");
        fs::create_dir_all(root.join("a")).unwrap();
        mountpoint::mount_virtual("tmpfs", &root, "size=10485760").unwrap();
        fs::create_dir_all(root.join("a/other")).unwrap();
        fs::write(root.join("a/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(root.join("a/file"), root.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", root.join("link")).unwrap();
        mountpoint::mount_virtual("tmpfs", &root.join("a/other"), "size=10485760").unwrap();
        fs::write(root.join("a/other/file"), vec![1; 4 << 20]).unwrap();
        let usage = measure(&root).unwrap();
        mountpoint::unmount_below(&root).unwrap();
        assert!((1 << 20..2 << 20).contains(&usage.used), "{usage:?}");
        // The root, a, file, link.
        assert_eq!((usage.inodes_used, usage.capacity), (4, 10 << 20));
        assert!(usage.available < 10 << 20);
    }

    #[test]
    fn only_a_limit_can_be_exceeded() {
        let volume = |source| serde_json::from_value(json!({"name": "v", "emptyDir": source})).unwrap();
        let told = excess(&volume(json!({"sizeLimit": "1Mi"})), (1 << 20) + 1);
        assert_eq!(told.unwrap(), "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
        assert_eq!(excess(&volume(json!({"sizeLimit": "1Mi"})), 1 << 20), None);
        assert_eq!(excess(&volume(json!({"sizeLimit": "0"})), 1), None);
        assert_eq!(excess(&volume(json!({})), 1), None);
    }
}
