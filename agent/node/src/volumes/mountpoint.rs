//! Owns mounting and unmounting: what is mounted where, in which order it goes, and never by a path
//! that leads elsewhere.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::error::{At, Problem, refused};

/// How often mounts are looked for again: some lie on top of each other.
const ROUNDS: usize = 8;

/// Whether something is mounted at exactly this path; not where there is nothing.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    match is_root_of_mount(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        other => other.map_err(io::Error::from),
    }
}

/// The same of what is open.
pub fn is_open_mount_point(file: impl AsFd) -> io::Result<bool> {
    is_root_of_mount(file, Path::new(""), AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT).map_err(io::Error::from)
}

fn is_root_of_mount(dir: impl AsFd, path: &Path, flags: AtFlags) -> Result<bool, Errno> {
    let stat = rustix::fs::statx(dir, path, flags, StatxFlags::TYPE)?;
    if !stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        // Kernels before 5.8; the node needs newer ones for other reasons too.
        return Err(Errno::NOSYS);
    }
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Mounts a file system of the kernel's own (`tmpfs`, `hugetlbfs`) with these options.
pub fn mount_virtual(kind: &str, target: &Path, options: &str) -> Result<(), Problem> {
    let Ok(data) = CString::new(options) else { return refused("an option of a mount has a zero byte in it") };
    rustix::mount::mount(kind, target, kind, MountFlags::empty(), Some(data.as_c_str())).at("mount", target)
}

/// Shows `source` at `target` too, with what is mounted below it when `recursive`.
pub fn bind(source: &Path, target: &Path, recursive: bool) -> Result<(), Problem> {
    let bound = if recursive {
        rustix::mount::mount_bind_recursive(source, target)
    } else {
        rustix::mount::mount_bind(source, target)
    };
    bound.at("bind-mount", target)
}

/// Makes a bind mount read-only.
pub fn make_read_only(target: &Path) -> Result<(), Problem> {
    rustix::mount::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, "").at("make read-only", target)
}

/// Unmounts what is mounted last at a path; when it is in use, as soon as it no longer is.
pub fn unmount(target: &Path) -> Result<(), Problem> {
    match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(Errno::BUSY) => {
            let flags = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
            rustix::mount::unmount(target, flags).at("unmount", target)
        }
        Err(error) => Err(error).at("unmount", target),
    }
}

/// Parts a mount from those that share with it what is mounted below: a bind mount and its source do, so
/// that what is unmounted below the one would be unmounted below the other too.
fn part(target: &Path) -> Result<(), Problem> {
    // A link in its place would lead elsewhere; what was opened is what is parted.
    let opened = match rustix::fs::open(target, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(()),
        // What a dead server had mounted cannot be opened, but unmounted: no pod is to wait for it.
        Err(error) => {
            tracing::warn!(target = %target.display(), "cannot open what is mounted: {error}");
            return Ok(());
        }
    };
    let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
    match rustix::mount::mount_change(path, MountPropagationFlags::PRIVATE) {
        // Nothing is mounted there any more.
        Err(Errno::INVAL) => Ok(()),
        parted => parted.at("part from others", target),
    }
}

/// Unmounts everything at and below a path, the deepest first. What is mounted elsewhere, and only shown
/// here, stays there.
pub fn unmount_below(base: &Path) -> Result<(), Problem> {
    let base = match base.canonicalize() {
        Ok(base) => base,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).at("look at", base),
    };
    for _ in 0..ROUNDS {
        let mounts = below(&base)?;
        if mounts.is_empty() {
            return Ok(());
        }
        for mount in &mounts {
            part(mount)?;
        }
        for mount in mounts {
            unmount(&mount)?;
        }
    }
    refused(format!("something is mounted again and again below {}", base.display()))
}

fn below(base: &Path) -> Result<Vec<PathBuf>, Problem> {
    let table = Path::new("/proc/self/mountinfo");
    Ok(unmount_order(&std::fs::read(table).at("read", table)?, base))
}

/// The mount points at and below `base`, in the order in which they can be unmounted.
fn unmount_order(table: &[u8], base: &Path) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    let points = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescaped);
    let mut points: Vec<_> = points.filter(|point| point.starts_with(base)).collect();
    // What was mounted later lies on top.
    points.reverse();
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    points
}

/// A path as the kernel writes it, with `\040` for a space.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.get(..3)).flatten().and_then(octal);
        path.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(path))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_goes_first_and_nothing_outside() {
        let table = b"20 1 0:1 / / rw - ext4 /dev/a rw\n\
            21 20 0:2 / /pods/u/volumes/a rw shared:1 - tmpfs tmpfs rw\n\
            19 21 0:3 / /pods/u/volumes/a/deep/er rw - tmpfs tmpfs rw\n\
            22 20 0:4 / /pods/uv/volumes/a rw - tmpfs tmpfs rw\n\
            23 21 0:5 / /pods/u/volumes/a\\040b\\134 rw - tmpfs tmpfs rw\n";
        let order = unmount_order(table, Path::new("/pods/u"));
        let expected = ["/pods/u/volumes/a/deep/er", "/pods/u/volumes/a b\\", "/pods/u/volumes/a"];
        assert_eq!(order, expected.map(PathBuf::from));
    }

    #[test]
    fn mounts_on_top_of_each_other_all_go() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a");
        std::fs::create_dir(&inner).unwrap();
        assert!(!is_mount_point(&inner).unwrap());
        assert!(!is_mount_point(&dir.path().join("none")).unwrap());
        for _ in 0..2 {
            mount_virtual("tmpfs", &inner, "size=65536").unwrap();
        }
        assert!(is_mount_point(&inner).unwrap());
        let deeper = inner.join("b");
        std::fs::create_dir(&deeper).unwrap();
        bind(&deeper, &deeper, false).unwrap();
        unmount_below(dir.path()).unwrap();
        assert!(!is_mount_point(&inner).unwrap());
        assert!(!deeper.exists());
    }

    #[test]
    fn what_the_host_has_mounted_in_a_volume_stays() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("host");
        std::fs::create_dir(&host).unwrap();
        mount_virtual("tmpfs", &host, "size=65536").unwrap();
        // As systemd has all that is mounted.
        rustix::mount::mount_change(&host, MountPropagationFlags::SHARED).unwrap();
        let (disk, pods) = (host.join("disks/one"), host.join("pods"));
        let (whole, plain) = (pods.join("u/whole"), pods.join("u/plain"));
        for folder in [&disk, &whole, &plain] {
            std::fs::create_dir_all(folder).unwrap();
        }
        bind(&host.join("disks"), &plain, false).unwrap();
        mount_virtual("tmpfs", &disk, "size=65536").unwrap();
        bind(&host.join("disks"), &whole, true).unwrap();
        assert!(is_mount_point(&whole.join("one")).unwrap() && is_mount_point(&plain.join("one")).unwrap());
        unmount_below(&pods).unwrap();
        assert!(!is_mount_point(&whole).unwrap() && !is_mount_point(&plain).unwrap());
        assert!(is_mount_point(&disk).unwrap(), "the host's own was unmounted");
        unmount_below(dir.path()).unwrap();
    }
}
