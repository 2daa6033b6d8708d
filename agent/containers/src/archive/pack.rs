//! Owns making an archive of files in a container.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, fstat, fstatfs, openat, readlinkat, statat};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::Place;

/// Folders may be nested so deep.
const DEEPEST: usize = 1000;
/// File systems that show what the kernel knows and hold no files: proc, sysfs, both cgroups, devpts,
/// mqueue.
const NO_FILES: [u64; 6] = [0x9fa0, 0x6265_6572, 0x27_e0eb, 0x6367_7270, 0x1cd1, 0x1980_0202];

const CAPABILITY: &str = "security.capability";

/// Writes what is at `place`, with all that is below it.
pub fn pack(place: &Place, out: impl Write) -> io::Result<()> {
    let mut packer = Packer { out: Builder::new(out), links: HashMap::new() };
    let called = if place.called.is_empty() { "/" } else { &place.called };
    packer.entry(&place.folder, &place.name, Path::new(called))?;
    packer.out.finish()
}

/// Writes all that is in `folder`, with paths relative to it.
pub fn pack_root(folder: &Place, out: impl Write) -> io::Result<()> {
    let mut packer = Packer { out: Builder::new(out), links: HashMap::new() };
    let folder = Folder::open(folder.open_folder()?, PathBuf::new())?;
    packer.below(folder)?;
    packer.out.finish()
}

struct Packer<W: Write> {
    out: Builder<W>,
    /// Where a file with several names was first met.
    links: HashMap<(u64, u64), PathBuf>,
}

/// A folder that is gone through.
struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    names: std::vec::IntoIter<OsString>,
}

impl Folder {
    fn open(fd: OwnedFd, path: PathBuf) -> io::Result<Self> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(Self { fd, path, names: names.into_iter() })
    }
}

impl<W: Write> Packer<W> {
    fn entry(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
        if let Some(folder) = self.one(parent, name, path)? {
            self.below(folder)?;
        }
        Ok(())
    }

    fn below(&mut self, top: Folder) -> io::Result<()> {
        let mut stack = vec![top];
        while let Some(folder) = stack.last_mut() {
            let Some(name) = folder.names.next() else {
                stack.pop();
                continue;
            };
            let path = folder.path.join(&name);
            match self.one(&folder.fd, &name, &path) {
                Ok(Some(folder)) if stack.len() < DEEPEST => stack.push(folder),
                Ok(Some(_)) => return Err(io::Error::other(format!("{} is nested too deep", path.display()))),
                Ok(None) => {}
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes one entry; a folder is given back, for what is in it.
    fn one(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<Option<Folder>> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return self.folder(parent, name, path),
            FileType::RegularFile => self.file(parent, name, path)?,
            FileType::Symlink => {
                let target = readlinkat(parent, name, Vec::new())?;
                let named =
                    Named { path: path.as_os_str().as_bytes(), link: Some(target.to_bytes()), capability: None };
                self.append(header(&stat, EntryType::Symlink), named, io::empty())?;
            }
            FileType::Fifo => self.special(&stat, EntryType::Fifo, path)?,
            FileType::CharacterDevice => self.special(&stat, EntryType::Char, path)?,
            FileType::BlockDevice => self.special(&stat, EntryType::Block, path)?,
            // Sockets are nothing without who listens.
            _ => {}
        }
        Ok(None)
    }

    fn folder(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<Option<Folder>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(parent, name, flags, Mode::empty())?;
        // A slash at the end, as everyone writes folders.
        let path_bytes = path.join("").into_os_string();
        self.append(header(&fstat(&fd)?, EntryType::Directory), Named::new(path_bytes.as_bytes()), io::empty())?;
        let has_files = !NO_FILES.contains(&(fstatfs(&fd)?.f_type as u64));
        has_files.then(|| Folder::open(fd, path.to_owned())).transpose()
    }

    fn file(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = openat(parent, name, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::NOENT.into());
        }
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)).cloned()
        {
            let link = Some(first.as_os_str().as_bytes());
            let named = Named { path: path.as_os_str().as_bytes(), link, capability: None };
            return self.append(header(&stat, EntryType::Link), named, io::empty());
        }
        let capability = capability(&fd);
        let mut header = header(&stat, EntryType::Regular);
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        header.set_size(size);
        // As much as was said, even if the file became shorter or longer meanwhile.
        let content = File::from(fd).chain(io::repeat(0)).take(size);
        let named = Named { path: path.as_os_str().as_bytes(), link: None, capability: capability.as_deref() };
        self.append(header, named, content)?;
        if stat.st_nlink > 1 {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        Ok(())
    }

    fn special(&mut self, stat: &Stat, kind: EntryType, path: &Path) -> io::Result<()> {
        let mut header = header(stat, kind);
        if kind != EntryType::Fifo {
            header.set_device_major(rustix::fs::major(stat.st_rdev))?;
            header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
        }
        self.append(header, Named::new(path.as_os_str().as_bytes()), io::empty())
    }

    /// Appends an entry whose names stay as they are, `./` at their beginning included: clients put
    /// another name in its place. What does not fit into the header goes before it.
    fn append(&mut self, mut header: Header, named: Named<'_>, content: impl Read) -> io::Result<()> {
        let mut more: Vec<(&str, &[u8])> = Vec::new();
        let fields = header.as_gnu_mut().ok_or_else(|| io::Error::other("no header of this kind"))?;
        if !put(&mut fields.name, named.path) {
            more.push(("path", named.path));
        }
        if let Some(link) = named.link
            && !put(&mut fields.linkname, link)
        {
            more.push(("linkpath", link));
        }
        let name = format!("SCHILY.xattr.{CAPABILITY}");
        more.extend(named.capability.map(|capability| (name.as_str(), capability)));
        if !more.is_empty() {
            self.out.append_pax_extensions(more)?;
        }
        header.set_cksum();
        self.out.append(&header, content)
    }
}

/// What an entry is called, and what no header has room for.
struct Named<'a> {
    path: &'a [u8],
    link: Option<&'a [u8]>,
    capability: Option<&'a [u8]>,
}

impl<'a> Named<'a> {
    fn new(path: &'a [u8]) -> Self {
        Self { path, link: None, capability: None }
    }
}

/// Puts `text`, or as much as fits, into `field`; whether all of it fits.
fn put(field: &mut [u8; 100], text: &[u8]) -> bool {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
    length == text.len()
}

fn header(stat: &Stat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header.set_size(0);
    header
}

/// What a program may do beyond its user, when the file says so.
pub fn capability(fd: &OwnedFd) -> Option<Vec<u8>> {
    let mut value = vec![0; 64];
    let length = fgetxattr(fd, CAPABILITY, &mut value).ok()?;
    value.truncate(length);
    Some(value)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::engine::Rootfs;

    fn listed(archive: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(archive);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let link = entry.link_name().unwrap().map(|link| format!(" -> {}", link.display()));
            let size = entry.size();
            format!("{} {size}{}", entry.path().unwrap().display(), link.unwrap_or_default())
        });
        entries.collect()
    }

    #[test]
    fn long_names_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(200);
        std::fs::create_dir(dir.path().join(&long)).unwrap();
        std::fs::write(dir.path().join(&long).join(&long), "").unwrap();
        symlink(&long, dir.path().join("link")).unwrap();
        let mut out = Vec::new();
        pack_root(&Place::find(&Rootfs::of_folder(dir.path()).unwrap(), "/").unwrap(), &mut out).unwrap();
        assert_eq!(listed(&out), [format!("link 0 -> {long}"), format!("{long}/ 0"), format!("{long}/{long} 0")]);
    }

    #[test]
    fn all_below_is_packed_and_no_link_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/sub")).unwrap();
        std::fs::write(dir.path().join("etc/file"), "content").unwrap();
        std::fs::set_permissions(dir.path().join("etc/file"), std::fs::Permissions::from_mode(0o4711)).unwrap();
        std::fs::hard_link(dir.path().join("etc/file"), dir.path().join("etc/same")).unwrap();
        symlink("/etc/shadow", dir.path().join("etc/link")).unwrap();
        let root = Rootfs::of_folder(dir.path()).unwrap();
        let packed = |path: &str| {
            let mut out = Vec::new();
            pack(&Place::find(&root, path).unwrap(), &mut out).unwrap();
            out
        };
        let etc = packed("/etc");
        assert_eq!(
            listed(&etc),
            ["etc/ 0", "etc/file 7", "etc/link 0 -> /etc/shadow", "etc/same 0 -> etc/file", "etc/sub/ 0"]
        );
        let mut archive = tar::Archive::new(etc.as_slice());
        let file = archive.entries().unwrap().nth(1).unwrap().unwrap();
        assert_eq!(file.header().mode().unwrap(), 0o4711);
        assert_eq!(listed(&packed("/etc/."))[1], "./file 7");
        assert_eq!(listed(&packed("/etc/link")), ["link 0 -> /etc/shadow"]);
        assert_eq!(listed(&packed("/"))[1], "/etc/ 0");
        let mut out = Vec::new();
        pack_root(&Place::find(&root, "/").unwrap(), &mut out).unwrap();
        assert_eq!(listed(&out)[0], "etc/ 0");
    }
}
