//! Owns the commit over a root's objects and what makes it usable: its signature, the static delta
//! from the version before, the signed summary. The ref moves last but for the summary, so that an
//! interrupted compose leaves the version before in place.

use std::path::Path;

use gio::prelude::*;
use glib::{Variant, VariantDict};
use keelson_common::commit::CommitInfo;

use super::{CommitError, ostree};

/// Files larger than this are carried whole by a delta: bsdiff needs seventeen times their size.
const BSDIFF_LIMIT_MIB: u32 = 8;

/// What is to be committed.
pub struct Publication<'a> {
    /// The repository.
    pub repo: &'a ostree::Repo,
    /// The ref to move.
    pub reference: &'a str,
    /// The commit it stands at now.
    pub parent: Option<&'a str>,
    /// Checksums of the root's tree and meta.
    pub root: (String, String),
    /// What the commit says about itself; its timestamp is the commit's.
    pub info: &'a CommitInfo,
    /// GnuPG home and fingerprint of the key.
    pub key: (&'a Path, &'a str),
}

/// Commits, signs, makes the delta, moves the ref, renews the summary; gives the checksum.
pub fn publish(job: &Publication<'_>) -> Result<String, CommitError> {
    let none = gio::Cancellable::NONE;
    let repo = job.repo;
    let (tree, meta) = &job.root;
    let mutable = ostree::MutableTree::from_checksum(repo, tree, meta);
    let file = repo.write_mtree(&mutable, none).map_err(ostree("read the tree back"))?;
    let root = file.downcast_ref::<ostree::RepoFile>().ok_or_else(|| CommitError::Repository {
        path: repo.path().path().unwrap_or_default(),
        why: "libostree gave no tree for what was written".to_owned(),
    })?;
    let subject =
        format!("{} {}", job.info.name.as_deref().unwrap_or_default(), job.info.version.as_deref().unwrap_or_default());
    let (metadata, time) = (job.info.to_metadata(), job.info.timestamp);
    let checksum = repo
        .write_commit_with_time(job.parent, Some(&subject), None, Some(&metadata), root, time, none)
        .map_err(ostree("write the commit"))?
        .to_string();
    let home = job.key.0.to_string_lossy();
    repo.sign_commit(&checksum, job.key.1, Some(&home), none)
        .or_else(already_signed)
        .map_err(ostree("sign the commit"))?;
    if let Some(parent) = job.parent {
        delta(repo, parent, &checksum)?;
    }
    sync(repo)?;
    repo.set_ref_immediate(None, job.reference, Some(&checksum), none).map_err(ostree("move the ref"))?;
    summary(repo, job.key)?;
    Ok(checksum)
}

/// Renews the summary and signs it.
pub fn summary(repo: &ostree::Repo, key: (&Path, &str)) -> Result<(), CommitError> {
    let none = gio::Cancellable::NONE;
    repo.regenerate_summary(None, none).map_err(ostree("renew the summary"))?;
    let home = key.0.to_string_lossy();
    repo.add_gpg_signature_summary(&[key.1], Some(&home), none).map_err(ostree("sign the summary"))
}

fn already_signed(error: glib::Error) -> Result<(), glib::Error> {
    if error.matches(gio::IOErrorEnum::Exists) { Ok(()) } else { Err(error) }
}

/// A static delta from `from` to `to`, split and compressed by libostree.
fn delta(repo: &ostree::Repo, from: &str, to: &str) -> Result<(), CommitError> {
    let params = VariantDict::new(None);
    params.insert("max-bsdiff-size", BSDIFF_LIMIT_MIB);
    let empty: Option<&Variant> = None;
    let kind = ostree::StaticDeltaGenerateOpt::Major;
    repo.static_delta_generate(kind, Some(from), to, empty, Some(&params.end()), gio::Cancellable::NONE)
        .map_err(ostree("make the static delta"))
}

/// Brings what was written to the disk before the ref names it.
fn sync(repo: &ostree::Repo) -> Result<(), CommitError> {
    let path = repo.path().path().unwrap_or_default();
    let outcome = std::fs::File::open(&path).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    outcome.map_err(|source| CommitError::Read { path, source })
}
