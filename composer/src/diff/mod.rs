//! Owns what differs between two commits: packages, by the commits' own metadata, and the files
//! that no change of a package explains.
//!
//! [`between`] reads: `read` gives revisions and objects of a repository, `tree` compares two
//! trees, `owners` says which package a file belongs to, `report` prints.

mod owners;
mod read;
mod report;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeSet;

use keelson_common::commit::CommitInfo;
use keelson_common::packages::PackageDiff;
use ostree::Repo;
use serde::Serialize;

pub use owners::Owners;
pub use read::DiffError;
pub use read::open;
pub use tree::{Change, Kind};

use crate::layout::dpkg::IMAGE_DIR as DPKG_DIR;

/// What differs between two commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The old side.
    pub from: Side,
    /// The new side.
    pub to: Side,
    /// Packages added, removed, upgraded and downgraded.
    pub packages: PackageDiff,
    /// Files that changed and whose package, if they have one, did not.
    pub files: Vec<FileChange>,
}

/// One of the two commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// What was asked for: a ref, a checksum, `ref^`.
    pub revision: String,
    /// The commit.
    pub checksum: String,
    /// The version a person sees.
    pub version: Option<String>,
}

/// A file that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Where it is in the commit, `/usr/etc/motd`; a folder ends in `/`.
    pub path: String,
    /// What happened to it.
    pub change: Kind,
    /// The package it belongs to, whose version is the same on both sides.
    pub package: Option<String>,
}

impl Diff {
    /// Whether the commits hold the same packages and files.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.files.is_empty()
    }
}

/// Compares the commits that two revisions of `repo` name: refs, checksums or their unique
/// beginnings, each with `^` for the parent.
pub fn between(repo: &Repo, from: &str, to: &str) -> Result<Diff, DiffError> {
    let (from, to) = (read::commit(repo, from)?, read::commit(repo, to)?);
    let packages = PackageDiff::between(&from.info.packages, &to.info.packages);
    let changes = read::compare(repo, &from.root, &to.root)?;
    let files = if changes.is_empty() {
        Vec::new()
    } else {
        let (old, new) = read::owners(repo, &from.root, &to.root)?;
        unexplained(changes, &packages, &old, &new)
    };
    Ok(Diff { from: from.side, to: to.side, packages, files })
}

/// Leaves out the changes that belong to packages which changed themselves, and dpkg's record of
/// such packages.
fn unexplained(changes: Vec<Change>, packages: &PackageDiff, old: &Owners, new: &Owners) -> Vec<FileChange> {
    let changed: BTreeSet<&str> = packages
        .added
        .iter()
        .chain(&packages.removed)
        .map(|package| package.name.as_str())
        .chain(packages.upgraded.iter().chain(&packages.downgraded).map(|change| change.name.as_str()))
        .collect();
    let database = format!("/{DPKG_DIR}/");
    let with_owner = |change: Change| {
        let bare = change.path.trim_end_matches('/');
        let owners = [old.owner(bare), new.owner(bare)];
        let explained = owners.into_iter().flatten().any(|owner| changed.contains(owner))
            || (!packages.is_empty() && change.path.starts_with(&database));
        let package = owners[1].or(owners[0]).map(str::to_owned);
        (!explained).then_some(FileChange { path: change.path, change: change.kind, package })
    };
    changes.into_iter().filter_map(with_owner).collect()
}

/// What a commit says about itself, completed from its dpkg database when it was not made by us.
fn complete(mut info: CommitInfo, status: Option<String>) -> CommitInfo {
    if info.packages.is_empty()
        && let Some(status) = status
    {
        info.packages = owners::installed(&status);
    }
    info
}
