//! Owns removing a tree of files: by open folders, so that no link leads out of it, and never through
//! a mount.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::mountpoint;

/// How deep folders are followed, each holding files open; deeper ones are moved up first.
const DEEP: usize = 32;

/// Opens a folder, and nothing else.
pub fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// The entries of a folder but for `.` and `..`.
pub fn entries(dir: BorrowedFd<'_>) -> Result<impl Iterator<Item = Result<rustix::fs::DirEntry, Errno>>, Errno> {
    let entries = Dir::read_from(dir)?;
    Ok(entries.filter(|entry| !matches!(entry, Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b".."))))
}

/// Removes a folder and everything in it; fails at the first mount point, and is content where there
/// is nothing.
pub fn remove(path: &Path) -> io::Result<()> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let top = match open_dir(CWD, &name) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    refuse_mount(&top)?;
    let mut removal = Removal { top: &top, moved: 0, refilled: 0 };
    while removal.clear(&top, 0)? {}
    Ok(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

struct Removal<'a> {
    top: &'a OwnedFd,
    /// How many folders were moved up.
    moved: u32,
    /// How many folders were not empty after they had been emptied.
    refilled: u32,
}

impl Removal<'_> {
    /// Empties a folder; says whether something is left for another round.
    fn clear(&mut self, dir: &OwnedFd, depth: usize) -> io::Result<bool> {
        let mut again = false;
        for entry in entries(dir.as_fd())? {
            let entry = entry?;
            let name = entry.file_name();
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR) => {}
                Err(error) => return Err(error.into()),
            }
            let child = open_dir(dir.as_fd(), name)?;
            refuse_mount(&child)?;
            if depth == DEEP {
                self.move_up(dir, name)?;
                again = true;
                continue;
            }
            again |= self.clear(&child, depth + 1)?;
            match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
                Ok(()) => {}
                // A listing may miss entries of a folder that changes while it is read.
                Err(Errno::NOTEMPTY) if self.refilled < 100 => {
                    self.refilled += 1;
                    again = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(again)
    }

    fn move_up(&mut self, dir: &OwnedFd, name: &CStr) -> io::Result<()> {
        loop {
            self.moved += 1;
            let new = format!(".deep-{}", self.moved);
            match rustix::fs::renameat_with(dir, name, self.top, new, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
    }
}

fn refuse_mount(dir: &OwnedFd) -> io::Result<()> {
    if mountpoint::is_open_mount_point(dir)? {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "something is still mounted there"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_removed_and_what_they_lead_to_is_kept() {
        let kept = tempfile::tempdir().unwrap();
        std::fs::write(kept.path().join("file"), "x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        std::fs::write(tree.join("a/b/c"), "x").unwrap();
        std::os::unix::fs::symlink(kept.path(), tree.join("a/link")).unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert!(kept.path().join("file").exists());
        remove(&tree).unwrap();
    }

    #[test]
    fn very_deep_trees_go_too() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        let deep = "d/".repeat(DEEP * 5);
        std::fs::create_dir_all(tree.join(&deep)).unwrap();
        std::fs::create_dir_all(tree.join(".deep-1/full")).unwrap();
        std::fs::write(tree.join(&deep).join("file"), "x").unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn nothing_is_removed_through_a_mount() {
        let kept = tempfile::tempdir().unwrap();
        std::fs::write(kept.path().join("file"), "x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("a/mounted")).unwrap();
        // On the same file system, so that the device does not give it away.
        mountpoint::bind(kept.path(), &tree.join("a/mounted"), false).unwrap();
        assert!(remove(&tree).is_err());
        assert!(kept.path().join("file").exists());
        mountpoint::unmount_below(&tree).unwrap();
        remove(&tree).unwrap();
        assert!(kept.path().join("file").exists());
    }
}
