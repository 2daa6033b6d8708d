//! Decides what a container changed against its image: `diff`. Like Docker, it compares what there is
//! with what there was, not only what the overlay holds: a file that was written back as it was is no
//! change, a folder with a change inside is one.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fgetxattr, open, openat, statat};
use rustix::io::Errno;

use super::pack::capability;

/// Folders may be nested so deep.
const DEEPEST: usize = 1000;

/// What is there for the container to run, and Docker makes before it looks.
const OURS: [&str; 8] =
    ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/.dockerenv", "/sbin/docker-init"];

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is another now.
    Changed,
    /// There was none.
    Added,
    /// There is none any more.
    Deleted,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path in the container.
    pub path: String,
    /// What happened to it.
    pub kind: Kind,
}

/// Compares `upper` with the layers below it, the topmost first. Sorted by path, a folder before what
/// is in it.
pub fn changes(upper: &Path, lowers: &[&Path]) -> io::Result<Vec<Change>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let upper = open(upper, flags, Mode::empty())?;
    let lowers = lowers.iter().map(|path| openat(CWD, *path, flags, Mode::empty())).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    level(&Level { path: String::new(), upper, lowers, whole: false, depth: 0 }, &mut all)?;
    Ok(all)
}

/// A folder of the container.
struct Level {
    path: String,
    upper: OwnedFd,
    /// The same folder in the layers that show through it.
    lowers: Vec<OwnedFd>,
    /// Nothing shows through: what is not in `upper` was deleted.
    whole: bool,
    depth: usize,
}

/// Appends the changes below a folder; whether anything in it is only ours.
fn level(level: &Level, all: &mut Vec<Change>) -> io::Result<bool> {
    if level.depth > DEEPEST {
        return Err(io::Error::other(format!("{} is nested too deep", level.path)));
    }
    let mut names: BTreeSet<OsString> = names(&level.upper)?.into_iter().collect();
    if level.whole {
        names.extend(shown(&level.lowers)?);
    }
    let mut ours = false;
    for name in names {
        let path = format!("{}/{}", level.path, name.to_string_lossy());
        if OURS.contains(&path.as_str()) {
            ours = true;
            continue;
        }
        entry(level, &name, path, all)?;
    }
    Ok(ours)
}

fn entry(parent: &Level, name: &OsStr, path: String, all: &mut Vec<Change>) -> io::Result<()> {
    let before = before(&parent.lowers, name)?;
    let now = stat(&parent.upper, name)?.filter(|stat| !is_whiteout(stat));
    let (now, before) = match (now, before) {
        (Some(now), before) => (now, before),
        (None, Some(_)) => {
            all.push(Change { path, kind: Kind::Deleted });
            return Ok(());
        }
        (None, None) => return Ok(()),
    };
    let place = all.len();
    let kind = match &before {
        None => Some(Kind::Added),
        Some(before) if differ(before, &now) || capabilities_differ(parent, name, &now) => Some(Kind::Changed),
        Some(_) => None,
    };
    all.extend(kind.map(|kind| Change { path: path.clone(), kind }));
    if FileType::from_raw_mode(now.st_mode) != FileType::Directory {
        return Ok(());
    }
    let upper = open_folder(&parent.upper, name)?;
    let whole = parent.whole || is_opaque(&upper);
    let lowers = folders(&parent.lowers, name)?;
    let (first, depth) = (all.len(), parent.depth + 1);
    let ours = level(&Level { path: path.clone(), upper, lowers, whole, depth }, all)?;
    match kind {
        // It is there for what is ours, and for nothing else.
        Some(Kind::Added) if ours && all.len() == first => all.truncate(place),
        None if all.len() > first => all.insert(place, Change { path, kind: Kind::Changed }),
        _ => {}
    }
    Ok(())
}

/// As Docker compares: the size and time of a folder say nothing.
fn differ(before: &Stat, now: &Stat) -> bool {
    let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
    let folder = FileType::from_raw_mode(before.st_mode) == FileType::Directory;
    before.st_mode != now.st_mode
        || (before.st_uid, before.st_gid, before.st_rdev) != (now.st_uid, now.st_gid, now.st_rdev)
        || (!folder && (before.st_size != now.st_size || time(before) != time(now)))
}

fn capabilities_differ(parent: &Level, name: &OsStr, now: &Stat) -> bool {
    if FileType::from_raw_mode(now.st_mode) != FileType::RegularFile {
        return false;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let of = |folder: &OwnedFd| openat(folder, name, flags, Mode::empty()).ok().map(|file| capability(&file));
    let before = parent.lowers.iter().find_map(of).flatten();
    of(&parent.upper).flatten() != before
}

/// What `name` was in the layers.
fn before(lowers: &[OwnedFd], name: &OsStr) -> io::Result<Option<Stat>> {
    for lower in lowers {
        if let Some(stat) = stat(lower, name)? {
            return Ok(Some(stat).filter(|stat| !is_whiteout(stat)));
        }
    }
    Ok(None)
}

/// The folders called `name` in the layers, as far down as they show.
fn folders(lowers: &[OwnedFd], name: &OsStr) -> io::Result<Vec<OwnedFd>> {
    let mut folders = Vec::new();
    for lower in lowers {
        match stat(lower, name)? {
            None => {}
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let folder = open_folder(lower, name)?;
                let last = is_opaque(&folder);
                folders.push(folder);
                if last {
                    break;
                }
            }
            Some(_) => break,
        }
    }
    Ok(folders)
}

/// The names in the layers together.
fn shown(lowers: &[OwnedFd]) -> io::Result<Vec<OsString>> {
    let mut seen = BTreeSet::new();
    for lower in lowers {
        seen.extend(names(lower)?);
    }
    let mut shown = Vec::new();
    for name in seen {
        if before(lowers, &name)?.is_some() {
            shown.push(name);
        }
    }
    Ok(shown)
}

fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn stat(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn open_folder(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// How overlayfs writes down that there is nothing any more.
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// How overlayfs writes down that nothing shows through a folder.
fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    fgetxattr(folder, "trusted.overlay.opaque", &mut value).is_ok() && &value == b"y"
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::{XattrFlags, mknodat, setxattr};

    use super::*;

    fn write(layer: &Path, path: &str, content: &str) {
        let path = layer.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn whiteout(layer: &Path, path: &str) {
        let path = layer.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn same_as_below(from: &Path, to: &Path) {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let done = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
        assert!(done.success());
    }

    fn found(dir: &Path) -> Vec<String> {
        let (upper, top, bottom) = (dir.join("upper"), dir.join("top"), dir.join("bottom"));
        let letter = |kind| match kind {
            Kind::Changed => 'C',
            Kind::Added => 'A',
            Kind::Deleted => 'D',
        };
        let all = changes(&upper, &[&top, &bottom]).unwrap();
        all.into_iter().map(|change| format!("{} {}", letter(change.kind), change.path)).collect()
    }

    fn image() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let (top, bottom) = (dir.path().join("top"), dir.path().join("bottom"));
        fs::create_dir_all(dir.path().join("upper")).unwrap();
        for path in ["bin/vi", "bin/sh", "etc/passwd", "etc/old", "root/x", "root/y"] {
            write(&bottom, path, path);
        }
        write(&top, "etc/group", "group");
        whiteout(&top, "etc/old");
        dir
    }

    #[test]
    fn nothing_changed() {
        let dir = image();
        assert!(found(dir.path()).is_empty());
        same_as_below(&dir.path().join("bottom/etc/passwd"), &dir.path().join("upper/etc/passwd"));
        assert!(found(dir.path()).is_empty(), "copied up as it was");
    }

    #[test]
    fn folders_are_said_to_have_changed_for_what_is_in_them() {
        let dir = image();
        let upper = dir.path().join("upper");
        whiteout(&upper, "bin/vi");
        write(&upper, "new/folder/file", "x");
        write(&upper, "etc/passwd", "other");
        write(&upper, "etc/old", "again");
        fs::create_dir_all(upper.join("root")).unwrap();
        fs::set_permissions(upper.join("root"), fs::Permissions::from_mode(0o700)).unwrap();
        let all = found(dir.path());
        assert_eq!(
            all,
            [
                "C /bin",
                "D /bin/vi",
                "C /etc",
                "A /etc/old",
                "C /etc/passwd",
                "A /new",
                "A /new/folder",
                "A /new/folder/file",
                "C /root"
            ]
        );
    }

    #[test]
    fn what_was_removed_and_made_again_hides_what_was_in_it() {
        let dir = image();
        let upper = dir.path().join("upper");
        write(&upper, "root/x", "root/x");
        setxattr(upper.join("root"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        assert_eq!(found(dir.path()), ["C /root", "C /root/x", "D /root/y"]);
    }

    #[test]
    fn a_folder_in_the_place_of_a_file() {
        let dir = image();
        let upper = dir.path().join("upper");
        write(&upper, "etc/group/z", "z");
        whiteout(&upper, "root");
        assert_eq!(found(dir.path()), ["C /etc", "C /etc/group", "A /etc/group/z", "D /root"]);
    }

    #[test]
    fn what_is_ours_is_not_shown() {
        let dir = image();
        let upper = dir.path().join("upper");
        for path in ["etc/hosts", "dev/console", "sys/x", "vol/deep/x"] {
            write(&upper, path, "");
        }
        assert_eq!(found(dir.path()), ["A /vol", "A /vol/deep", "A /vol/deep/x"]);
        fs::remove_dir_all(dir.path().join("bottom/etc")).unwrap();
        fs::remove_dir_all(dir.path().join("top/etc")).unwrap();
        assert_eq!(found(dir.path()), ["A /vol", "A /vol/deep", "A /vol/deep/x"], "its folder is ours as well");
    }
}
