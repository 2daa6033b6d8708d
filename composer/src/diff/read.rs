//! Owns reading an OSTree repository for a comparison: revisions, folders, and dpkg's database
//! inside a commit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use gio::prelude::*;
use glib::Variant;
use keelson_common::commit::CommitInfo;
use ostree::{ObjectType, Repo};

use super::owners::{Owners, package_of_list};
use super::tree::{self, Change, Folder, Item, Items, Sum};
use super::{Side, complete};
use crate::layout::dpkg::IMAGE_DIR as DPKG_DIR;

/// Nothing cancels a comparison but the end of the program.
const NEVER: Option<&gio::Cancellable> = None;

/// Why two commits could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The folder is no repository.
    #[error("{} is no OSTree repository: `keelson compose --repo {}` makes one", path.display(), path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// What libostree said.
        source: glib::Error,
    },
    /// No commit has that name.
    #[error("there is no commit `{revision}`{}", refs(known))]
    Unknown {
        /// What was asked for.
        revision: String,
        /// The refs there are.
        known: Vec<String>,
        /// What libostree said.
        source: glib::Error,
    },
    /// An object of the repository is missing or damaged.
    #[error("cannot read the object {object}; `ostree fsck` finds what else is damaged")]
    Object {
        /// Its checksum.
        object: String,
        /// What libostree said.
        source: glib::Error,
    },
    /// An object of the repository has the wrong type.
    #[error("the object {object} is not what libostree writes; `ostree fsck` finds what else is damaged")]
    Shape {
        /// Its checksum.
        object: String,
    },
}

fn refs(known: &[String]) -> String {
    match known {
        [] => ": the repository has no refs".to_owned(),
        known => format!("; refs: {}", known.join(", ")),
    }
}

/// A commit that was read.
pub struct Commit {
    pub side: Side,
    pub info: CommitInfo,
    pub root: Folder,
}

/// Opens the repository in a folder.
pub fn open(path: &Path) -> Result<Repo, DiffError> {
    let repo = Repo::new_for_path(path);
    repo.open(NEVER).map_err(|source| DiffError::Open { path: path.to_owned(), source })?;
    Ok(repo)
}

/// Reads the commit that a revision names.
pub fn commit(repo: &Repo, revision: &str) -> Result<Commit, DiffError> {
    let unknown = |source| {
        let mut known: Vec<String> =
            repo.list_refs(None, NEVER).map(|refs| refs.into_keys().collect()).unwrap_or_default();
        known.sort_unstable();
        DiffError::Unknown { revision: revision.to_owned(), known, source }
    };
    let checksum = repo.require_rev(revision).map_err(unknown)?.to_string();
    let (variant, _) = repo.load_commit(&checksum).map_err(unknown)?;
    let sums = (sum(&variant.child_value(6)), sum(&variant.child_value(7)));
    let (Some(content), Some(meta)) = sums else { return Err(DiffError::Shape { object: checksum }) };
    let root = Folder { content, meta };
    let info = CommitInfo::from_variant(&variant);
    let status = if info.packages.is_empty() { text(repo, &root, &format!("{DPKG_DIR}/status"))? } else { None };
    let info = complete(info, status);
    let side = Side { revision: revision.to_owned(), checksum, version: info.version.clone() };
    Ok(Commit { side, info, root })
}

/// What differs between two trees.
pub fn compare(repo: &Repo, old: &Folder, new: &Folder) -> Result<Vec<Change>, DiffError> {
    tree::compare(*old, *new, &mut |sum| items(repo, sum))
}

/// Who owns the files of two trees. Lists that are the same on both sides are read once.
pub fn owners(repo: &Repo, old: &Folder, new: &Folder) -> Result<(Owners, Owners), DiffError> {
    let mut read = HashMap::new();
    Ok((owners_of(repo, old, &mut read)?, owners_of(repo, new, &mut read)?))
}

fn owners_of(repo: &Repo, root: &Folder, read: &mut HashMap<Sum, String>) -> Result<Owners, DiffError> {
    let mut owners = Owners::default();
    if let Some(Item::Folder(info)) = lookup(repo, root, &format!("{DPKG_DIR}/info"))? {
        for (name, item) in items(repo, &info.content)? {
            let (Some(package), Item::File(sum)) = (package_of_list(&name), item) else { continue };
            let list = match read.entry(sum) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(content(repo, &sum)?),
            };
            owners.add(package, list);
        }
    }
    if let Some(diversions) = text(repo, root, &format!("{DPKG_DIR}/diversions"))? {
        owners.divert(&diversions);
    }
    Ok(owners)
}

/// The item at a relative path of a tree.
fn lookup(repo: &Repo, root: &Folder, path: &str) -> Result<Option<Item>, DiffError> {
    let mut at = Item::Folder(*root);
    for name in path.split('/') {
        let Item::Folder(folder) = at else { return Ok(None) };
        match items(repo, &folder.content)?.get(name) {
            Some(item) => at = *item,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn text(repo: &Repo, root: &Folder, path: &str) -> Result<Option<String>, DiffError> {
    match lookup(repo, root, path)? {
        Some(Item::File(sum)) => content(repo, &sum).map(Some),
        _ => Ok(None),
    }
}

/// The content of a file as text; bytes that are not UTF-8 are replaced, a link has none.
fn content(repo: &Repo, sum: &Sum) -> Result<String, DiffError> {
    let object = hex::encode(sum);
    let failed = |source| DiffError::Object { object: object.clone(), source };
    let (stream, _, _) = repo.load_file(&object, NEVER).map_err(failed)?;
    let Some(stream) = stream else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    loop {
        let chunk = stream.read_bytes(1 << 16, NEVER).map_err(failed)?;
        if chunk.is_empty() {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// What a folder holds: the object `(a(say)a(sayay))`.
fn items(repo: &Repo, folder: &Sum) -> Result<Items, DiffError> {
    let object = hex::encode(folder);
    let variant = repo
        .load_variant(ObjectType::DirTree, &object)
        .map_err(|source| DiffError::Object { object: object.clone(), source })?;
    parse(&variant).ok_or(DiffError::Shape { object })
}

fn parse(variant: &Variant) -> Option<Items> {
    let mut items = Items::new();
    for file in variant.child_value(0).iter() {
        items.insert(file.child_value(0).str()?.to_owned(), Item::File(sum(&file.child_value(1))?));
    }
    for folder in variant.child_value(1).iter() {
        let (content, meta) = (sum(&folder.child_value(1))?, sum(&folder.child_value(2))?);
        items.insert(folder.child_value(0).str()?.to_owned(), Item::Folder(Folder { content, meta }));
    }
    Some(items)
}

fn sum(bytes: &Variant) -> Option<Sum> {
    bytes.fixed_array::<u8>().ok()?.try_into().ok()
}
