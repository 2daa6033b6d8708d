//! Owns writing into a root folder without ever leaving it: parents are resolved by the kernel
//! inside the root, so that no link in a package can point a write at the build machine.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self as sys, AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};

/// Folders of the root that are links into /usr on a merged system.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Mode, owner and modification time of what is written.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since the epoch.
    pub mtime: u64,
}

/// A root folder held open.
pub struct Tree {
    root: OwnedFd,
    parent: Option<(String, OwnedFd)>,
}

impl Tree {
    /// Opens a root folder.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self { root: sys::open(root, flags, Mode::empty())?, parent: None })
    }

    /// Makes a folder and its parents, 0755; one that is there stays as it is.
    pub fn make_dir(&mut self, path: &str) -> io::Result<()> {
        self.folder(path).map(drop)
    }

    /// Writes a regular file, replacing what has its name.
    pub fn write_file(&mut self, path: &str, meta: Meta, content: &mut dyn Read) -> io::Result<()> {
        let (parent, name) = self.locate(path)?;
        clear(&parent, name)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = sys::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        copy(content, &mut file)?;
        sys::fchown(&file, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
        sys::fchmod(&file, Mode::from_raw_mode(meta.mode))?;
        sys::futimens(&file, &times(meta.mtime))?;
        Ok(())
    }

    /// Makes a symbolic link, replacing what has its name unless that is a folder.
    pub fn write_link(&mut self, path: &str, target: &Path, meta: Meta) -> io::Result<()> {
        let (parent, name) = self.locate(path)?;
        clear(&parent, name)?;
        sys::symlinkat(target, &parent, name)?;
        let (uid, gid) = (Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
        sys::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        sys::utimensat(&parent, name, &times(meta.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// Makes `path` another name of the file `target`.
    pub fn write_hard_link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let (from, from_name) = self.locate(target)?;
        let (parent, name) = self.locate(path)?;
        clear(&parent, name)?;
        Ok(sys::linkat(&from, from_name, &parent, name, AtFlags::empty())?)
    }

    /// Sets mode and owner of a folder that is there.
    pub fn set_dir(&mut self, path: &str, meta: Meta) -> io::Result<()> {
        let folder = self.folder(path)?;
        sys::chownat(&folder, "", Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)), AtFlags::EMPTY_PATH)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let open = sys::openat(&folder, ".", flags, Mode::empty())?;
        sys::fchmod(&open, Mode::from_raw_mode(meta.mode))?;
        Ok(())
    }

    /// The parent folder of a path, made if need be, and the last component.
    fn locate<'p>(&mut self, path: &'p str) -> io::Result<(OwnedFd, &'p str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() || name == ".." || name == "." {
            return Err(io::Error::other(format!("`{path}` is no file name")));
        }
        if let Some((cached, fd)) = &self.parent
            && cached == parent
        {
            return Ok((fd.try_clone()?, name));
        }
        let fd = self.folder(parent)?;
        self.parent = Some((parent.to_owned(), fd.try_clone()?));
        Ok((fd, name))
    }

    fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        match self.open_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
                let parent = self.folder(parent)?;
                match sys::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => self.open_dir(path),
                    Err(error) => Err(error.into()),
                }
            }
            other => other,
        }
    }

    fn open_dir(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match sys::openat2(self.root.as_fd(), path, flags, Mode::empty(), resolve) {
                Err(rustix::io::Errno::AGAIN) => continue,
                other => return Ok(other?),
            }
        }
    }
}

/// Removes a file that stands where another is about to be written.
fn clear(parent: &OwnedFd, name: &str) -> io::Result<()> {
    match sys::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn copy(from: &mut dyn Read, to: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 17];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn times(mtime: u64) -> Timestamps {
    let at = Timespec { tv_sec: i64::try_from(mtime).unwrap_or(i64::MAX), tv_nsec: 0 };
    Timestamps { last_access: at, last_modification: at }
}

/// A path of a package as a path below the root on a merged system: no `./`, no trailing slash,
/// `lib/x` as `usr/lib/x`. `None` for a path that climbs out.
pub fn normal(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return None;
    }
    let merged = parts.len() > 1 && MERGED.contains(&parts[0]);
    Some(format!("{}{}", if merged { "usr/" } else { "" }, parts.join("/")))
}

/// Whether a normal path is one of the links of a merged system, such as `lib`.
pub fn is_merged_link(path: &str) -> bool {
    MERGED.contains(&path)
}

/// Makes the links of a merged system for the folders that Debian's `base-files` has.
pub fn make_merged_links(tree: &mut Tree) -> io::Result<()> {
    let meta = Meta { mode: 0o777, uid: 0, gid: 0, mtime: 0 };
    for name in ["bin", "sbin", "lib", "lib64"] {
        let target = format!("usr/{name}");
        tree.make_dir(&target)?;
        tree.write_link(name, Path::new(&target), meta)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_normal() {
        assert_eq!(normal("./lib/x/").as_deref(), Some("usr/lib/x"));
        assert_eq!(normal("./lib").as_deref(), Some("lib"));
        assert_eq!(normal("./usr/../etc"), None);
    }

    #[test]
    fn a_link_out_of_the_root_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let mut tree = Tree::open(&root).unwrap();
        let meta = Meta {
            mode: 0o644,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            mtime: 1,
        };
        tree.write_link("out", dir.path(), meta).unwrap();
        tree.write_file("out/evil", meta, &mut &b"x"[..]).unwrap_err();
        assert!(!dir.path().join("evil").exists());
    }
}
