//! Owns the objects of a root: which there are ([`Scan`]), and writing those the repository lacks,
//! in parallel, each thread through its own handle of libostree.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use gio::prelude::*;
use glib::Variant;
use ostree::ObjectType;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{CommitError, ostree};

/// The only extended attribute a commit carries: file capabilities.
const CAPABILITY: &str = "security.capability";

/// SHA-256 of an object.
type Checksum = [u8; 32];

/// What tells an unchanged file: inode, size, times of change, mode and owner.
type Identity = (u64, u64, (i64, i64), (i64, i64), (u32, u32, u32));

/// Writes objects into one repository and remembers what it wrote.
pub struct Objects {
    repo: PathBuf,
    known: Mutex<HashMap<Identity, Checksum>>,
    ahead: Mutex<HashSet<Checksum>>,
}

impl Objects {
    /// For the archive repository at `repo`.
    pub fn new(repo: &Path) -> Self {
        Self { repo: repo.to_owned(), known: Mutex::default(), ahead: Mutex::default() }
    }

    /// Writes the files of `/usr` ahead of the commit, best effort: a file that changes meanwhile
    /// or cannot be read is left to [`Objects::write`].
    pub fn write_ahead(&self, root: &Path) {
        let mut files = Vec::new();
        if walk(&root.join("usr"), &mut files).is_err() {
            return;
        }
        let handle = || self.open().ok();
        files.par_iter().for_each_init(handle, |repo, (path, meta)| {
            let Some(repo) = repo else { return };
            match self.file(repo, path, meta) {
                Ok((sum, true)) => {
                    lock(&self.ahead).insert(sum);
                }
                Ok((_, false)) => {}
                Err(error) => tracing::debug!("{} is left for later: {error}", path.display()),
            }
        });
    }

    /// Writes every object below `root`; gives the checksums of the root's tree and its meta.
    pub fn write(&self, root: &Path) -> Result<(String, String), CommitError> {
        let mut files = Vec::new();
        walk(root, &mut files).map_err(|(path, source)| CommitError::Read { path, source })?;
        let sums: Result<HashMap<&Path, Checksum>, CommitError> = files
            .par_iter()
            .map_init(
                || self.open(),
                |repo, (path, meta)| {
                    let repo = repo.as_ref().map_err(|error| CommitError::Ostree {
                        action: "open the repository",
                        source: error.clone(),
                    })?;
                    Ok((path.as_path(), self.file(repo, path, meta)?.0))
                },
            )
            .collect();
        let repo = self.open().map_err(ostree("open the repository"))?;
        let sums = sums?;
        self.drop_unused(&repo, &sums.values().copied().collect())?;
        let (tree, meta) = write_dir(&repo, root, &sums)?;
        Ok((hex::encode(tree), hex::encode(meta)))
    }

    fn open(&self) -> Result<ostree::Repo, glib::Error> {
        let repo = ostree::Repo::new_for_path(&self.repo);
        repo.open(gio::Cancellable::NONE)?;
        repo.set_disable_fsync(true);
        Ok(repo)
    }

    /// Deletes what was written ahead and is in no commit: files that changed afterwards.
    fn drop_unused(&self, repo: &ostree::Repo, used: &HashSet<Checksum>) -> Result<(), CommitError> {
        for sum in lock(&self.ahead).drain().filter(|sum| !used.contains(sum)) {
            repo.delete_object(ObjectType::File, &hex::encode(sum), gio::Cancellable::NONE)
                .map_err(ostree("delete an unused object"))?;
        }
        Ok(())
    }

    /// Writes one file or link unless the repository has it; tells whether it did.
    fn file(&self, repo: &ostree::Repo, path: &Path, meta: &Metadata) -> Result<(Checksum, bool), CommitError> {
        let identity = identity(meta);
        if let Some(sum) = lock(&self.known).get(&identity) {
            return Ok((*sum, false));
        }
        let read = |source| CommitError::Read { path: path.to_owned(), source };
        let object = Object::new(path, meta).map_err(read)?;
        let sum = object.checksum(path).map_err(read)?;
        let text = hex::encode(sum);
        let has = repo.has_object(ObjectType::File, &text, gio::Cancellable::NONE);
        let has = has.map_err(ostree("look for an object"))?;
        if !has {
            object.write(repo, path, &text)?;
        }
        lock(&self.known).insert(identity, sum);
        Ok((sum, !has))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

fn identity(meta: &Metadata) -> Identity {
    let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    (meta.ino(), meta.size(), modified, changed, (meta.mode(), meta.uid(), meta.gid()))
}

/// Every file and link below `dir` with what `lstat` says.
fn walk(dir: &Path, files: &mut Vec<(PathBuf, Metadata)>) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| (path, source)
    };
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        let meta = fs::symlink_metadata(&path).map_err(at(&path))?;
        if meta.is_dir() {
            walk(&path, files)?;
        } else {
            files.push((path, meta));
        }
    }
    Ok(())
}

/// A content object: the header libostree hashes and stores, and the file behind it.
struct Object {
    uid: u32,
    gid: u32,
    mode: u32,
    size: u64,
    target: String,
    xattrs: Variant,
}

impl Object {
    fn new(path: &Path, meta: &Metadata) -> io::Result<Self> {
        let kind = meta.file_type();
        if !kind.is_file() && !kind.is_symlink() {
            return Err(io::Error::other("it is a device, socket or pipe, which a commit cannot hold"));
        }
        let target = match kind.is_symlink() {
            true => fs::read_link(path)?
                .into_os_string()
                .into_string()
                .map_err(|_| io::Error::other("it links to a name that is not UTF-8, which a commit cannot hold"))?,
            false => String::new(),
        };
        let capability = if kind.is_file() { capability(path)? } else { None };
        let xattrs: Vec<(Vec<u8>, Vec<u8>)> =
            capability.into_iter().map(|value| ([CAPABILITY.as_bytes(), b"\0"].concat(), value)).collect();
        let size = if kind.is_file() { meta.size() } else { 0 };
        Ok(Self { uid: meta.uid(), gid: meta.gid(), mode: meta.mode(), size, target, xattrs: xattrs.to_variant() })
    }

    /// SHA-256 of the framed header followed by the content.
    fn checksum(&self, path: &Path) -> io::Result<Checksum> {
        let header = Variant::tuple_from_iter([
            self.uid.to_be().to_variant(),
            self.gid.to_be().to_variant(),
            self.mode.to_be().to_variant(),
            0u32.to_variant(),
            self.target.to_variant(),
            self.xattrs.clone(),
        ]);
        let bytes = header.data_as_bytes();
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut hash = Sha256::new();
        hash.update(length.to_be_bytes());
        hash.update([0; 4]);
        hash.update(&bytes);
        if self.target.is_empty() {
            let mut file = File::open(path)?;
            let mut buffer = vec![0; 1 << 17];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    count => hash.update(&buffer[..count]),
                }
            }
        }
        Ok(hash.finalize().into())
    }

    /// Writes the object; libostree checks that it is the one expected.
    fn write(&self, repo: &ostree::Repo, path: &Path, expected: &str) -> Result<(), CommitError> {
        let none = gio::Cancellable::NONE;
        let failed = ostree("write an object");
        if !self.target.is_empty() {
            repo.write_symlink(Some(expected), self.uid, self.gid, Some(&self.xattrs), &self.target, none)
                .map_err(failed)?;
            return Ok(());
        }
        let info = gio::FileInfo::new();
        info.set_file_type(gio::FileType::Regular);
        info.set_size(i64::try_from(self.size).unwrap_or(i64::MAX));
        info.set_attribute_uint32("unix::uid", self.uid);
        info.set_attribute_uint32("unix::gid", self.gid);
        info.set_attribute_uint32("unix::mode", self.mode);
        let input = gio::File::for_path(path).read(none).map_err(&failed)?;
        let (stream, length) =
            ostree::raw_file_to_content_stream(&input, &info, Some(&self.xattrs), none).map_err(&failed)?;
        repo.write_content(Some(expected), &stream, length, none).map_err(&failed)?;
        Ok(())
    }
}

fn capability(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 256];
    match rustix::fs::lgetxattr(path, CAPABILITY, &mut buffer) {
        Ok(length) => {
            buffer.truncate(length);
            Ok(Some(buffer))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes the tree and meta objects of a folder and of all below it.
fn write_dir(
    repo: &ostree::Repo,
    dir: &Path,
    sums: &HashMap<&Path, Checksum>,
) -> Result<(Checksum, Checksum), CommitError> {
    let read = |source| CommitError::Read { path: dir.to_owned(), source };
    let mut names =
        fs::read_dir(dir).map_err(read)?.map(|e| Ok(e?.file_name())).collect::<io::Result<Vec<_>>>().map_err(read)?;
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut dirs: Vec<(String, Vec<u8>, Vec<u8>)> = Vec::new();
    for name in names {
        let path = dir.join(&name);
        let name = name.into_string().map_err(|_| {
            let source = io::Error::other("its name is not UTF-8, which a commit cannot hold");
            CommitError::Read { path: path.clone(), source }
        })?;
        match sums.get(path.as_path()) {
            Some(sum) => files.push((name, sum.to_vec())),
            None => {
                let (tree, meta) = write_dir(repo, &path, sums)?;
                dirs.push((name, tree.to_vec(), meta.to_vec()));
            }
        }
    }
    let tree = metadata(repo, ObjectType::DirTree, &(files, dirs).to_variant())?;
    let stat = fs::symlink_metadata(dir).map_err(read)?;
    let xattrs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let owner = [stat.uid(), stat.gid(), stat.mode()].map(|number| number.to_be().to_variant());
    let meta = Variant::tuple_from_iter(owner.into_iter().chain([xattrs.to_variant()]));
    Ok((tree, metadata(repo, ObjectType::DirMeta, &meta)?))
}

/// Writes one metadata object unless the repository has it.
fn metadata(repo: &ostree::Repo, kind: ObjectType, object: &Variant) -> Result<Checksum, CommitError> {
    let none = gio::Cancellable::NONE;
    let sum: Checksum = Sha256::digest(object.data()).into();
    let text = hex::encode(sum);
    if !repo.has_object(kind, &text, none).map_err(ostree("look for an object"))? {
        repo.write_metadata(kind, Some(&text), object, none).map_err(ostree("write a folder"))?;
    }
    Ok(sum)
}
