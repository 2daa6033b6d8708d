//! Owns what `fsGroup` does to a volume: its files are given to the group, which may read them, and
//! write them unless the volume is read-only; folders hand the group on.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags};

use super::error::{At, Problem};
use super::tree;

/// How deep folders are followed, each holding files open.
const DEEP: usize = 128;

/// Gives everything at and below `root` to `group`. What cannot be changed is logged and left.
pub fn apply(root: &Path, group: u32, read_only: bool) -> Result<(), Problem> {
    let top = rustix::fs::openat(CWD, root, entry_flags(), Mode::empty()).at("open", root)?;
    change(&top, group, read_only, 0).at("give to its group", root)
}

/// Whether the root of a volume shows that [`apply`] was not done, for `fsGroupChangePolicy: OnRootMismatch`.
pub fn is_needed(root: &Path, group: u32, read_only: bool) -> bool {
    let Ok(stat) = std::fs::metadata(root) else { return true };
    let wanted = 0o2000 | mask(true, read_only) & 0o777;
    !stat.is_dir() || stat.gid() != group || stat.mode() & wanted != wanted
}

fn mask(dir: bool, read_only: bool) -> u32 {
    let files = if read_only { 0o440 } else { 0o660 };
    if dir { files | 0o2110 } else { files }
}

fn entry_flags() -> OFlags {
    OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn change(entry: &OwnedFd, group: u32, read_only: bool, depth: usize) -> io::Result<()> {
    let stat = rustix::fs::fstat(entry)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind.is_dir() {
        if depth == DEEP {
            tracing::warn!("a volume is deeper than {DEEP} folders; what is below keeps its group");
        } else {
            change_below(entry, group, read_only, depth + 1)?;
        }
    }
    if let Err(error) = rustix::fs::chownat(entry, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH) {
        tracing::warn!(group, "cannot give a file of a volume to its group: {error}");
    }
    // A link has no mode of its own.
    if kind.is_symlink() {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(stat.st_mode | mask(kind.is_dir(), read_only));
    // By what is open, not by name: somebody may write to the volume meanwhile.
    let open = format!("/proc/self/fd/{}", entry.as_raw_fd());
    if let Err(error) = rustix::fs::chmod(open, mode) {
        tracing::warn!(group, "cannot let the group use a file of a volume: {error}");
    }
    Ok(())
}

fn change_below(dir: &OwnedFd, group: u32, read_only: bool, depth: usize) -> io::Result<()> {
    let readable = tree::open_dir(dir.as_fd(), c".")?;
    for child in tree::entries(readable.as_fd())? {
        let child = rustix::fs::openat(&readable, child?.file_name(), entry_flags(), Mode::empty());
        match child {
            Ok(child) => change(&child, group, read_only, depth)?,
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_get_the_group_and_links_do_not_lead_out() {
        let outside = tempfile::NamedTempFile::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::write(root.join("d/file"), "x").unwrap();
        rustix::fs::chmod(root.join("d/file"), Mode::from_raw_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.join("link")).unwrap();
        assert!(is_needed(root, 1234, true));
        apply(root, 1234, true).unwrap();
        assert!(!is_needed(root, 1234, true));
        assert!(is_needed(root, 1234, false));
        let file = std::fs::metadata(root.join("d/file")).unwrap();
        assert_eq!((file.gid(), file.mode() & 0o7777), (1234, 0o640));
        let folder = std::fs::metadata(root.join("d")).unwrap();
        assert_eq!((folder.gid(), folder.mode() & 0o2770), (1234, 0o2750));
        assert_eq!(std::fs::symlink_metadata(root.join("link")).unwrap().gid(), 1234);
        let untouched = std::fs::metadata(outside.path()).unwrap();
        assert_eq!((untouched.gid(), untouched.mode() & 0o777), (0, 0o600));
        apply(root, 1234, false).unwrap();
        assert!(!is_needed(root, 1234, false));
        assert_eq!(std::fs::metadata(root.join("d/file")).unwrap().mode() & 0o777, 0o660);
    }
}
