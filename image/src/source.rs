//! Owns reading the source repository: which commit is asked for, and whether it can boot at all.

use std::path::Path;

use gio::prelude::*;
use keelson_common::commit::CommitInfo;

use crate::{ImageError, ImageRequest};

/// Where kernels lie in a commit, one folder a kernel release.
const MODULES: &str = "usr/lib/modules";

/// A bootable commit.
pub struct Source {
    /// The repository.
    pub repo: ostree::Repo,
    /// Its address, for libostree to pull from.
    pub uri: String,
    /// The ref.
    pub reference: String,
    /// The commit's checksum.
    pub checksum: String,
    /// What it says about itself.
    pub info: CommitInfo,
}

impl Source {
    /// Finds the commit `request` asks for and checks that it can boot.
    pub fn open(request: &ImageRequest) -> Result<Self, ImageError> {
        let path = std::path::absolute(&request.repo).map_err(ImageError::io("find", &request.repo))?;
        let repo = ostree::Repo::new_for_path(&path);
        repo.open(gio::Cancellable::NONE).map_err(|source| ImageError::Repo { path: request.repo.clone(), source })?;
        let checksum = resolve(&repo, request)?;
        let (commit, _) = repo.load_commit(&checksum).map_err(ImageError::ostree("reading the commit"))?;
        check_bootable(&repo, &checksum)?;
        Ok(Self {
            repo,
            uri: gio::File::for_path(&path).uri().into(),
            reference: request.rev.clone(),
            checksum,
            info: CommitInfo::from_variant(&commit),
        })
    }
}

fn resolve(repo: &ostree::Repo, request: &ImageRequest) -> Result<String, ImageError> {
    let missing = |what: String| ImageError::NoRev { repo: request.repo.clone(), what, known: refs(repo) };
    match &request.commit {
        Some(commit) => {
            let found = repo.has_object(ostree::ObjectType::Commit, commit, gio::Cancellable::NONE);
            // A malformed checksum is an error to libostree, and equally not there.
            if found.unwrap_or(false) { Ok(commit.clone()) } else { Err(missing(format!("commit {commit}"))) }
        }
        None => {
            let found = repo.resolve_rev(&request.rev, true).ok().flatten();
            found.map(String::from).ok_or_else(|| missing(format!("ref {}", request.rev)))
        }
    }
}

fn refs(repo: &ostree::Repo) -> Vec<String> {
    let mut refs: Vec<String> =
        repo.list_refs(None, gio::Cancellable::NONE).map(|map| map.into_keys().collect()).unwrap_or_default();
    refs.sort();
    refs
}

fn check_bootable(repo: &ostree::Repo, checksum: &str) -> Result<(), ImageError> {
    let (root, _) =
        repo.read_commit(checksum, gio::Cancellable::NONE).map_err(ImageError::ostree("reading the commit"))?;
    let has = |path: &Path| root.resolve_relative_path(path).query_exists(gio::Cancellable::NONE);
    let kernels = folders(&root.resolve_relative_path(MODULES));
    let with = |file: &str| kernels.iter().any(|release| has(&Path::new(MODULES).join(release).join(file)));
    let lacks = if !with("vmlinuz") {
        "kernel: /usr/lib/modules/VERSION/vmlinuz"
    } else if !with("initramfs.img") {
        "initramfs: /usr/lib/modules/VERSION/initramfs.img"
    } else if !has(Path::new("usr/etc")) {
        "/usr/etc"
    } else if !has(Path::new("usr/lib/os-release")) && !has(Path::new("usr/etc/os-release")) {
        "os-release"
    } else {
        return Ok(());
    };
    Err(ImageError::NotBootable { checksum: checksum.to_owned(), what: lacks })
}

fn folders(dir: &gio::File) -> Vec<std::path::PathBuf> {
    let Ok(entries) = dir.enumerate_children("standard::name", gio::FileQueryInfoFlags::NONE, gio::Cancellable::NONE)
    else {
        return Vec::new();
    };
    // The iterator over an enumerator repeats an error for ever; a missing folder is one.
    let mut names = Vec::new();
    while let Ok(Some(info)) = entries.next_file(gio::Cancellable::NONE) {
        names.push(info.name());
    }
    names
}

/// The file name an image gets when none is asked for: the ref, the version (or the start of the
/// checksum) and the format, `keelson-host-amd64-13.0.qcow2`.
pub fn file_name(request: &ImageRequest) -> Result<String, ImageError> {
    let source = Source::open(request)?;
    let version = source.info.version.unwrap_or_else(|| source.checksum.chars().take(12).collect());
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_+~".contains(c) { c } else { '-' };
    let stem: String = format!("{}-{version}", source.reference).chars().map(plain).collect();
    Ok(format!("{stem}.{}", request.format.extension()))
}
