//! Owns finding what a client names by a path in a container.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, OFlags, Stat, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::engine::Rootfs;

/// So many links are followed.
const LINKS: usize = 40;

/// What a path names: an entry of a folder, not followed when it is a link.
#[derive(Debug)]
pub struct Place {
    /// The folder that it is in; for the root itself, the root.
    pub folder: OwnedFd,
    /// Its name there; `.` for the root, and for what a path with `/` or `/.` at its end names.
    pub name: OsString,
    /// What it is called in archives: the last element of the path as it was asked.
    pub called: String,
    /// The path without `.`, `..` and what is superfluous.
    pub path: String,
}

/// `path` made absolute, by the letter: without `.`, `..` and doubled slashes.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether `path` says that it names a folder.
fn names_folder(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path == "."
}

impl Place {
    /// What is at `path` below `root`.
    pub fn find(root: &Rootfs, path: &str) -> io::Result<Self> {
        let clean = clean(path);
        let (parent, name) = clean.rsplit_once('/').unwrap_or(("", ""));
        let called = if path.ends_with("/.") && !name.is_empty() { "." } else { name };
        let (folder, name) = match names_folder(path) || name.is_empty() {
            true => (clean.as_str(), "."),
            false => (parent, name),
        };
        let folder = root.open(folder, OFlags::PATH | OFlags::DIRECTORY)?;
        let place = Self { folder, name: name.into(), called: called.to_owned(), path: clean.clone() };
        place.stat()?;
        Ok(place)
    }

    /// What it is.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Where it leads in the end when it is a link, as a path in the container.
    pub fn target(&self, root: &Rootfs) -> io::Result<Option<String>> {
        let mut place = Self::find(root, &self.path)?;
        let mut target = None;
        for _ in 0..LINKS {
            if FileType::from_raw_mode(place.stat()?.st_mode) != FileType::Symlink {
                return Ok(target);
            }
            let link = readlinkat(&place.folder, &place.name, Vec::new())?;
            let link = link.to_string_lossy();
            let parent = place.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let next = if link.starts_with('/') { clean(&link) } else { clean(&format!("{parent}/{link}")) };
            target = Some(next.clone());
            place = match Self::find(root, &next) {
                Ok(place) => place,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
                Err(error) => return Err(error),
            };
        }
        Err(Errno::LOOP.into())
    }

    /// Opens it as a folder to look into, not following a link.
    pub fn open_folder(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.folder, &self.name, flags, rustix::fs::Mode::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_cleaned_by_the_letter() {
        assert_eq!(clean(""), "/");
        assert_eq!(clean("a/./b//c/../d/"), "/a/b/d");
        assert_eq!(clean("/../../etc"), "/etc");
    }

    fn tree() -> (tempfile::TempDir, Rootfs) {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        std::fs::create_dir_all(inside.join("etc/deep")).unwrap();
        std::fs::write(inside.join("etc/file"), "inside").unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        symlink("/etc", inside.join("link")).unwrap();
        symlink("link/file", inside.join("chain")).unwrap();
        symlink("../../secret", inside.join("escape")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        let root = Rootfs::of_folder(&inside).unwrap();
        (dir, root)
    }

    #[test]
    fn the_last_element_is_not_followed_and_the_others_are_inside() {
        let (_dir, root) = tree();
        let place = |path: &str| Place::find(&root, path);
        assert_eq!(place("/link/file").unwrap().stat().unwrap().st_size, 6);
        let link = place("/link").unwrap();
        assert_eq!(FileType::from_raw_mode(link.stat().unwrap().st_mode), FileType::Symlink);
        assert!(link.open_folder().is_err());
        let followed = place("/link/.").unwrap();
        assert_eq!((followed.called.as_str(), followed.path.as_str()), (".", "/link"));
        followed.open_folder().unwrap();
        assert_eq!(place("/etc/").unwrap().called, "etc");
        assert_eq!(place("/").unwrap().called, "");
        assert_eq!(place("/none").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(place("/etc/file/").unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(place("/escape/x").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn links_lead_somewhere_inside() {
        let (_dir, root) = tree();
        let target = |path: &str| Place::find(&root, path).unwrap().target(&root);
        assert_eq!(target("/link").unwrap().as_deref(), Some("/etc"));
        assert_eq!(target("/chain").unwrap().as_deref(), Some("/link/file"));
        assert_eq!(target("/escape").unwrap().as_deref(), Some("/secret"));
        assert_eq!(target("/etc/file").unwrap(), None);
        assert!(target("/loop").is_err());
    }
}
