//! Owns putting an archive into a container.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat,
    fsetxattr, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use crate::engine::Rootfs;
use crate::error::{Error, Result};

/// How an archive is put in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unpacking {
    /// A folder is not put in the place of something else, nor the other way round.
    pub keep_kinds: bool,
    /// Everything belongs to this user and group, not to those in the archive.
    pub owner: Option<(u32, u32)>,
}

/// Puts the archive `from` into the folder `to` below `root`.
pub fn unpack(root: &Rootfs, to: &str, from: impl Read, how: Unpacking) -> Result<()> {
    let mut unpacker = Unpacker { root, to: PathBuf::from(to), how, times: Vec::new() };
    let mut archive = Archive::new(from);
    let wrong = |error: io::Error| Error::Invalid(format!("cannot read the archive: {error}"));
    for entry in archive.entries().map_err(wrong)? {
        unpacker.entry(entry.map_err(wrong)?)?;
    }
    unpacker.set_times();
    Ok(())
}

struct Unpacker<'a> {
    root: &'a Rootfs,
    to: PathBuf,
    how: Unpacking,
    /// Of folders, which what is put into them changes.
    times: Vec<(PathBuf, Timestamps)>,
}

/// What is done with an entry needs, after its content.
struct Attributes {
    owner: (u32, u32),
    mode: Mode,
    times: Timestamps,
    capability: Option<Vec<u8>>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<()> {
        let path = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let path = inside(&path)
            .ok_or_else(|| Error::Invalid(format!("{} in the archive leads out of it", path.display())))?;
        let attributes = self.attributes(&mut entry)?;
        self.place(&path, entry, attributes).map_err(|error| match error {
            Failure::Said(error) => error,
            Failure::Io(error) => Error::failed(format_args!("write /{}", path.display()), error),
        })
    }

    fn attributes<R: Read>(&self, entry: &mut Entry<'_, R>) -> Result<Attributes> {
        let wrong = |error: io::Error| Error::Invalid(format!("cannot read the archive: {error}"));
        let capability = match entry.pax_extensions().map_err(wrong)? {
            Some(extensions) => extensions
                .flatten()
                .find(|extension| extension.key_bytes() == b"SCHILY.xattr.security.capability")
                .map(|extension| extension.value_bytes().to_vec()),
            None => None,
        };
        let header = entry.header();
        let id = |id: io::Result<u64>| id.map(|id| u32::try_from(id).unwrap_or_default()).map_err(wrong);
        let owner = match self.how.owner {
            Some(owner) => owner,
            None => (id(header.uid())?, id(header.gid())?),
        };
        let mtime = Timespec { tv_sec: i64::try_from(header.mtime().map_err(wrong)?).unwrap_or_default(), tv_nsec: 0 };
        Ok(Attributes {
            owner,
            mode: Mode::from_raw_mode(header.mode().map_err(wrong)? & 0o7777),
            times: Timestamps { last_access: mtime, last_modification: mtime },
            capability,
        })
    }

    fn place<R: Read>(
        &mut self,
        path: &Path,
        mut entry: Entry<'_, R>,
        attributes: Attributes,
    ) -> std::result::Result<(), Failure> {
        let kind = entry.header().entry_type();
        let (folder, name) = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => (self.folder(parent)?, name.to_owned()),
            _ => (self.folder(Path::new(""))?, OsString::from(".")),
        };
        let there = self.make_way(&folder, &name, path, kind)?;
        match kind {
            EntryType::Directory if there => {}
            EntryType::Directory => mkdirat(&folder, &name, Mode::RWXU)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(&folder, &name, flags, Mode::RUSR | Mode::WUSR)?);
                io::copy(&mut entry, &mut file)?;
                finish_file(&file, &attributes)?;
                return Ok(());
            }
            EntryType::Symlink => symlinkat(Path::new(OsStr::from_bytes(&link(&entry)?)), &folder, &name)?,
            EntryType::Link => {
                let target = PathBuf::from(OsStr::from_bytes(&link(&entry)?));
                let target = inside(&target).ok_or(Errno::PERM)?;
                let other = self.folder(target.parent().unwrap_or(Path::new("")))?;
                linkat(&other, target.file_name().ok_or(Errno::INVAL)?, &folder, &name, AtFlags::empty())?;
                return Ok(());
            }
            EntryType::Fifo => mknodat(&folder, &name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?,
            EntryType::Char | EntryType::Block => {
                let header = entry.header();
                let (major, minor) = (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
                let kind = if kind == EntryType::Char { FileType::CharacterDevice } else { FileType::BlockDevice };
                mknodat(&folder, &name, kind, Mode::RUSR | Mode::WUSR, makedev(major, minor))?;
            }
            // Headers that say something about others, such as global ones of pax.
            _ => return Ok(()),
        }
        self.finish(&folder, &name, path, kind, &attributes)?;
        Ok(())
    }

    /// The folder `path` below where we put things, made if there is none.
    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut below = self.to.clone();
        match self.root.open(&self.to.join(path).to_string_lossy(), flags) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        let mut folder = self.root.open(&below.to_string_lossy(), flags)?;
        for part in path.components() {
            match mkdirat(&folder, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            below.push(part);
            folder = self.root.open(&below.to_string_lossy(), flags)?;
        }
        Ok(folder)
    }

    /// Removes what is in the way of an entry; whether it is a folder that there is already.
    fn make_way(
        &self,
        folder: &OwnedFd,
        name: &OsStr,
        path: &Path,
        kind: EntryType,
    ) -> std::result::Result<bool, Failure> {
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            other => other?,
        };
        let (was, will) = (is_folder(&stat), kind == EntryType::Directory);
        if was && will {
            return Ok(true);
        }
        let at = self.to.join(path);
        match (was, will) {
            (true, false) if self.how.keep_kinds => Err(Failure::Said(Error::Invalid(format!(
                "cannot overwrite directory \"{}\" with non-directory \"{}\"",
                at.display(),
                path.display()
            )))),
            (false, true) if self.how.keep_kinds => Err(Failure::Said(Error::Invalid(format!(
                "cannot overwrite non-directory \"{}\" with directory \"{}\"",
                at.display(),
                path.display()
            )))),
            (true, false) => Ok(remove_folder(folder.as_fd(), name, 0).map(|()| false)?),
            _ => Ok(unlinkat(folder, name, AtFlags::empty()).map(|()| false)?),
        }
    }

    fn finish(
        &mut self,
        folder: &OwnedFd,
        name: &OsStr,
        path: &Path,
        kind: EntryType,
        attributes: &Attributes,
    ) -> rustix::io::Result<()> {
        let (uid, gid) = attributes.owner;
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        chownat(folder, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), nofollow)?;
        match kind {
            EntryType::Symlink => {}
            EntryType::Directory => {
                // By a handle: a name might be a link by now, and fchmodat(2) would follow it.
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::fchmod(openat(folder, name, flags, Mode::empty())?, attributes.mode)?;
                self.times.push((path.to_owned(), attributes.times.clone()));
                return Ok(());
            }
            _ => match chmodat(folder, name, attributes.mode, nofollow) {
                // Of kernels that cannot, the mode is what mknod made.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(error) => return Err(error),
            },
        }
        utimensat(folder, name, &attributes.times, nofollow)
    }

    fn set_times(&self) {
        for (path, times) in self.times.iter().rev() {
            // Only a wish: the container may have removed it meanwhile.
            if let Ok(folder) =
                self.root.open(&self.to.join(path).to_string_lossy(), OFlags::RDONLY | OFlags::DIRECTORY)
            {
                rustix::fs::futimens(&folder, times).ok();
            }
        }
    }
}

/// Owner first: changing it takes away what makes a program run as another.
fn finish_file(file: &File, attributes: &Attributes) -> rustix::io::Result<()> {
    let (uid, gid) = attributes.owner;
    rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    rustix::fs::fchmod(file, attributes.mode)?;
    if let Some(capability) = &attributes.capability {
        fsetxattr(file, "security.capability", capability, XattrFlags::empty())?;
    }
    rustix::fs::futimens(file, &attributes.times)
}

/// Why an entry was not made.
enum Failure {
    Said(Error),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn link<R: Read>(entry: &Entry<'_, R>) -> io::Result<Vec<u8>> {
    Ok(entry.link_name_bytes().ok_or(Errno::INVAL)?.into_owned())
}

/// `path` as a relative one, when it does not lead up.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(inside)
}

/// Removes a folder and what is in it, following no link.
fn remove_folder(parent: BorrowedFd<'_>, name: &OsStr, depth: usize) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    if depth > 500 {
        return Err(Errno::NAMETOOLONG);
    }
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        match unlinkat(&folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_folder(folder.as_fd(), name, depth + 1)?,
            other => other?,
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use tar::{Builder, Header};

    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut out = Builder::new(Vec::new());
        for &(path, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o751);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(1_000_000);
            match kind {
                EntryType::Symlink | EntryType::Link => {
                    header.set_size(0);
                    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
                    header.set_link_name_literal(content).unwrap();
                    header.set_cksum();
                    out.append(&header, io::empty()).unwrap();
                }
                _ => {
                    header.set_size(content.len() as u64);
                    header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
                    header.set_cksum();
                    out.append(&header, content.as_bytes()).unwrap();
                }
            }
        }
        out.into_inner().unwrap()
    }

    fn put(dir: &Path, to: &str, keep_kinds: bool, entries: &[(&str, EntryType, &str)]) -> Result<()> {
        let root = Rootfs::of_folder(&dir.join("root")).unwrap();
        unpack(&root, to, archive(entries).as_slice(), Unpacking { keep_kinds, owner: None })
    }

    fn world() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/to")).unwrap();
        std::fs::create_dir_all(dir.path().join("outside")).unwrap();
        dir
    }

    #[test]
    fn files_folders_and_links_are_made_as_they_were() {
        let dir = world();
        let entries = [
            ("./", EntryType::Directory, ""),
            ("new/deep/file", EntryType::Regular, "content"),
            ("folder/", EntryType::Directory, ""),
            ("folder/inside", EntryType::Regular, "x"),
            ("link", EntryType::Symlink, "/absolute"),
            ("again", EntryType::Link, "new/deep/file"),
            ("fifo", EntryType::Fifo, ""),
        ];
        put(dir.path(), "/to", true, &entries).unwrap();
        let to = dir.path().join("root/to");
        assert_eq!(std::fs::read(to.join("new/deep/file")).unwrap(), b"content");
        let file = to.join("again").metadata().unwrap();
        assert_eq!((file.permissions().mode() & 0o7777, file.mtime(), file.nlink()), (0o751, 1_000_000, 2));
        let folder = to.join("folder").metadata().unwrap();
        assert_eq!((folder.permissions().mode() & 0o7777, folder.mtime()), (0o751, 1_000_000));
        assert_eq!(to.join("link").read_link().unwrap(), Path::new("/absolute"));
    }

    #[test]
    fn nothing_leads_out() {
        let dir = world();
        let outside = dir.path().join("outside");
        std::fs::write(outside.join("file"), "safe").unwrap();
        symlink("../../outside", dir.path().join("root/to/up")).unwrap();
        symlink("../../outside/file", dir.path().join("root/to/file")).unwrap();
        assert!(put(dir.path(), "/to", false, &[("../x", EntryType::Regular, "bad")]).is_err());
        assert!(put(dir.path(), "/to", false, &[("l", EntryType::Link, "../../outside/file")]).is_err());
        // The link itself is replaced.
        put(dir.path(), "/to", false, &[("file", EntryType::Regular, "new")]).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("root/to/file")).unwrap(), "new");
        // A link to a folder is followed inside, where there is none.
        assert!(put(dir.path(), "/to", false, &[("up/x", EntryType::Regular, "bad")]).is_err());
        let entries = [("s", EntryType::Symlink, "../../outside"), ("s/x", EntryType::Regular, "bad")];
        assert!(put(dir.path(), "/to", false, &entries).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "safe");
    }

    #[test]
    fn a_folder_and_something_else_replace_each_other_only_when_allowed() {
        let dir = world();
        let to = dir.path().join("root/to");
        std::fs::create_dir_all(to.join("thing/deep")).unwrap();
        let error = put(dir.path(), "/to", true, &[("thing", EntryType::Regular, "x")]).unwrap_err().to_string();
        assert_eq!(error, "cannot overwrite directory \"/to/thing\" with non-directory \"thing\"");
        put(dir.path(), "/to", false, &[("thing", EntryType::Regular, "x")]).unwrap();
        assert!(to.join("thing").is_file());
        assert!(put(dir.path(), "/to", true, &[("thing/", EntryType::Directory, "")]).is_err());
        put(dir.path(), "/to", false, &[("thing/", EntryType::Directory, "")]).unwrap();
        assert!(to.join("thing").is_dir());
    }
}
