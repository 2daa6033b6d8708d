//! Owns unpacking packages into a root: in parallel, without the syncs dpkg needs on a live
//! system, and with dpkg's database written as dpkg would after `--unpack`.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use super::dpkg;
use super::owners::{Claim, Owners};
use super::tree::{self, Meta, Tree};
use crate::deb::archive::{self, ControlArchive, DebError};

/// A package ready to be unpacked.
#[derive(Debug)]
pub struct Package {
    /// The `.deb`.
    pub path: PathBuf,
    /// Size of the `.deb`; the large ones are begun first.
    pub size: u64,
    /// Its control part.
    pub archive: ControlArchive,
}

/// A root that could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A package could not be read, or a file of it not written.
    #[error("cannot unpack {package}")]
    Package {
        /// The package's name.
        package: String,
        /// Why.
        source: DebError,
    },
    /// Two packages ship the same file.
    #[error(
        "{package} and {owner} both ship /{path}, and neither says that it replaces the other; \
             leave one out with `exclude`"
    )]
    Conflict {
        /// The package being unpacked.
        package: String,
        /// The package that has the file.
        owner: String,
        /// The path below the root.
        path: String,
    },
    /// The root or dpkg's database in it could not be written.
    #[error("cannot write the root {}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the threads share.
struct Shared<'a> {
    packages: &'a [&'a Package],
    owners: Mutex<Owners>,
    dirs: Mutex<BTreeMap<String, (usize, Meta)>>,
    conflict: Mutex<Option<UnpackError>>,
}

/// Unpacks `packages` into `root`; `installed` are the files of packages that are there already.
pub fn unpack(root: &Path, packages: &[&Package], installed: &[(String, Vec<String>)]) -> Result<(), UnpackError> {
    let failed = |source| UnpackError::Root { path: root.to_owned(), source };
    let shared =
        Shared { packages, owners: Mutex::new(Owners::default()), dirs: Mutex::default(), conflict: Mutex::default() };
    for (number, (_, files)) in installed.iter().enumerate() {
        let mut owners = lock(&shared.owners);
        for file in files {
            owners.claim(file, packages.len() + number, |_, _| false);
        }
    }
    let existing: Vec<&str> = installed.iter().map(|(name, _)| name.as_str()).collect();
    let lists = run(root, &shared, &existing)?;
    let dirs = shared.dirs.into_inner().unwrap_or_else(|poison| poison.into_inner());
    let mut tree = Tree::open(root).map_err(failed)?;
    for (path, (_, meta)) in &dirs {
        tree.set_dir(path, *meta).map_err(failed)?;
    }
    let lost = shared.owners.into_inner().unwrap_or_else(|poison| poison.into_inner()).lost;
    let disowned = |index: usize, file: &str| {
        let normal = tree::normal(file);
        lost.get(&index).is_some_and(|paths| normal.is_some_and(|path| paths.contains(&path)))
    };
    for (index, mut files) in lists {
        files.retain(|file| !disowned(index, file));
        dpkg::record(root, &packages[index].archive, &files).map_err(failed)?;
    }
    Ok(())
}

/// Runs the threads; gives each package's paths as dpkg lists them.
fn run(root: &Path, shared: &Shared<'_>, existing: &[&str]) -> Result<BTreeMap<usize, Vec<String>>, UnpackError> {
    let mut order: Vec<usize> = (0..shared.packages.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(shared.packages[index].size));
    let queue = Mutex::new(order.into_iter());
    let lists = Mutex::new(BTreeMap::new());
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, |n| n.get()) {
            scope.spawn(|| {
                while lock(&failure).is_none()
                    && let Some(index) = { lock(&queue).next() }
                {
                    match one(root, shared, index, existing) {
                        Ok(list) => {
                            lock(&lists).insert(index, list);
                        }
                        Err(error) => {
                            lock(&failure).get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(|poison| poison.into_inner()) {
        Some(error) => Err(error),
        None => Ok(lists.into_inner().unwrap_or_else(|poison| poison.into_inner())),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

fn one(root: &Path, shared: &Shared<'_>, index: usize, existing: &[&str]) -> Result<Vec<String>, UnpackError> {
    let package = &shared.packages[index];
    let name = || package.archive.control.name.clone();
    let unpacked = archive::with_data(&package.path, |mut tar| {
        let mut tree = Tree::open(root)?;
        let mut list = vec!["/.".to_owned()];
        for entry in tar.entries()? {
            let mut entry = entry?;
            entry_into(&mut tree, shared, index, existing, &mut entry, &mut list)?;
        }
        Ok(list)
    });
    match (lock(&shared.conflict).take(), unpacked) {
        (Some(conflict), Err(_)) => Err(conflict),
        (_, unpacked) => unpacked.map_err(|source| UnpackError::Package { package: name(), source }),
    }
}

fn entry_into<R: io::Read>(
    tree: &mut Tree,
    shared: &Shared<'_>,
    index: usize,
    existing: &[&str],
    entry: &mut tar::Entry<'_, R>,
    list: &mut Vec<String>,
) -> io::Result<()> {
    let raw = entry.path()?.to_string_lossy().into_owned();
    let path = tree::normal(&raw).ok_or_else(|| io::Error::other(format!("`{raw}` leaves the root")))?;
    if path.is_empty() {
        return Ok(());
    }
    list.push(format!("/{}", raw.trim_start_matches("./").trim_end_matches('/')));
    let header = entry.header();
    let number = |value: u64| u32::try_from(value).map_err(io::Error::other);
    let meta = Meta {
        mode: header.mode()? & 0o7777,
        uid: number(header.uid()?)?,
        gid: number(header.gid()?)?,
        mtime: header.mtime()?,
    };
    let kind = header.entry_type();
    if tree::is_merged_link(&path) {
        return Ok(());
    }
    if kind.is_dir() {
        return dir(tree, shared, index, path, meta);
    }
    if !claim(shared, index, existing, &path)? {
        return Ok(());
    }
    let target = || -> io::Result<PathBuf> {
        Ok(entry.link_name()?.ok_or_else(|| io::Error::other(format!("`{raw}` links to nothing")))?.into_owned())
    };
    if kind.is_file() {
        tree.write_file(&path, meta, entry)
    } else if kind.is_symlink() {
        let target = target()?;
        tree.write_link(&path, &target, meta)
    } else if kind.is_hard_link() {
        let target = target()?;
        let target = tree::normal(&target.to_string_lossy())
            .ok_or_else(|| io::Error::other(format!("`{raw}` links out of the root")))?;
        tree.write_hard_link(&path, &target)
    } else {
        Err(io::Error::other(format!("`{raw}` is a device or another special file, which no host image may hold")))
    }
}

/// Makes a folder; of several packages that ship it the first in the list sets mode and owner.
fn dir(tree: &mut Tree, shared: &Shared<'_>, index: usize, path: String, meta: Meta) -> io::Result<()> {
    tree.make_dir(&path)?;
    let mut dirs = lock(&shared.dirs);
    let slot = dirs.entry(path).or_insert((index, meta));
    if index < slot.0 {
        *slot = (index, meta);
    }
    Ok(())
}

/// Whether package `index` is to write `path`.
fn claim(shared: &Shared<'_>, index: usize, existing: &[&str], path: &str) -> io::Result<bool> {
    let name_of = |index: usize| match shared.packages.get(index) {
        Some(package) => package.archive.control.name.as_str(),
        None => existing[index - shared.packages.len()],
    };
    let replaces = |a: usize, b: usize| {
        let other = name_of(b).split(':').next().unwrap_or_default();
        shared.packages.get(a).is_some_and(|a| a.archive.control.replaces.iter().any(|name| name == other))
    };
    match lock(&shared.owners).claim(path, index, replaces) {
        Claim::Write => Ok(true),
        Claim::Skip => Ok(false),
        Claim::Conflict(owner) => {
            *lock(&shared.conflict) = Some(UnpackError::Conflict {
                package: name_of(index).to_owned(),
                owner: name_of(owner).to_owned(),
                path: path.to_owned(),
            });
            Err(io::Error::other("two packages ship the same file"))
        }
    }
}

/// The files of the packages that a root has installed, by dpkg's name, as normal paths.
pub fn installed(root: &Path) -> io::Result<Vec<(String, Vec<String>)>> {
    let lists: HashMap<String, Vec<String>> = dpkg::lists(root)?;
    let mut all: Vec<(String, Vec<String>)> = lists.into_iter().collect();
    all.sort();
    for (_, files) in &mut all {
        *files = files.iter().filter_map(|file| tree::normal(file)).collect();
        files.retain(|file| !file.is_empty() && !root.join(file).is_dir());
    }
    Ok(all)
}
