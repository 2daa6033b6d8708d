//! Owns what `run` and `cluster` take for an image: a disk file, a ref, of which a disk is made when there is none of
//! its present commit, or a manifest.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use keelson_image::ImageRequest;

use crate::commit::signing;
use crate::progress::DiskSteps;
use crate::settings::gnupg_home;

/// What an argument stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Manifest,
    File,
    Ref,
}

/// An existing file is itself; what looks like a file's name is one that is missing.
pub(super) fn target(text: &str, is_file: bool) -> Target {
    let extension = Path::new(text).extension().and_then(|extension| extension.to_str());
    match extension {
        Some("toml") => Target::Manifest,
        Some("raw" | "img" | "qcow2") => Target::File,
        _ if is_file || text.starts_with(['.', '/']) => Target::File,
        _ => Target::Ref,
    }
}

/// The folder of images in a cache.
pub(super) fn folder(cache: &Path) -> PathBuf {
    cache.join("images")
}

/// Makes the image of a ref's present commit unless it is there; drops those of former commits. It is written to
/// by nobody.
pub(super) fn image(repo: &Path, cache: &Path, reference: &str) -> Result<PathBuf> {
    let (dir, name) = (folder(cache), reference.replace('/', "-"));
    let checksum = resolve(repo, reference)?;
    let image = dir.join(format!("{name}-{}.qcow2", checksum.get(..16).unwrap_or(&checksum)));
    if image.exists() {
        return Ok(image);
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut request = ImageRequest::new(repo, reference, &image);
    request.format = keelson_image::Format::Qcow2;
    request.commit = Some(checksum);
    let home = gnupg_home();
    let keys = if home.is_dir() { signing::public_keys(&home)? } else { Vec::new() };
    request.trusted_keys = Some(keys).filter(|keys| !keys.is_empty());
    keelson_image::build(&request, &DiskSteps::default())
        .with_context(|| format!("no image of {reference} was made"))?;
    for old in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if old != image && is_image_of(&old, &name) {
            // An old disk that stays only takes up room.
            let _ = fs::remove_file(old);
        }
    }
    Ok(image)
}

/// Whether a file is the image of some commit of that ref.
fn is_image_of(file: &Path, name: &str) -> bool {
    let file = file.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    let digest = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".qcow2"));
    digest.is_some_and(|digest| digest.len() == 16 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The commit that a ref of the repository stands at, or that a checksum names.
pub(super) fn resolve(repo: &Path, reference: &str) -> Result<String> {
    let missing = || {
        format!(
            "{reference} is neither a file nor a ref of {}; `keelson compose` makes refs, and \
             `ostree refs --repo={}` lists them",
            repo.display(),
            repo.display()
        )
    };
    let opened = ostree::Repo::new_for_path(repo);
    opened.open(gio::Cancellable::NONE).with_context(missing)?;
    let checksum = opened.resolve_rev(reference, true).with_context(missing)?;
    checksum.map(String::from).with_context(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_by_their_look() {
        assert_eq!(target("keelson/host/amd64", false), Target::Ref);
        assert_eq!(target("keelson/host/amd64", true), Target::File);
        assert_eq!(target("host.qcow2", false), Target::File);
        assert_eq!(target("./host", false), Target::File);
        assert_eq!(target("manifests/host.toml", true), Target::Manifest);
    }

    #[test]
    fn only_images_of_the_same_ref_are_dropped() {
        let is = |file: &str| is_image_of(Path::new(file), "keelson-host");
        assert!(is("images/keelson-host-0123456789abcdef.qcow2"));
        assert!(!is("images/keelson-host-amd64-0123456789abcdef.qcow2"));
        assert!(!is("images/keelson-host.kept.qcow2"));
    }
}
