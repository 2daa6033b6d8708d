//! Owns what a machine boots: a disk file as it is, or the disk of a ref, made when there is none of
//! its present commit.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use keelson_image::ImageRequest;
use keelson_qemu::machine::{Disk, Format};

use super::{Args, writes};
use crate::commit::signing;
use crate::compose::{Request, compose};
use crate::progress::{DiskSteps, Progress};
use crate::settings::{Settings, gnupg_home};

/// What the last argument stands for.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Manifest,
    File,
    Ref,
}

/// Finds or makes the disk that `args` ask for.
pub(super) fn find(args: &Args) -> Result<Disk> {
    let path = Path::new(&args.target);
    match target(&args.target, path.is_file()) {
        Target::File => open(path, args.persist),
        Target::Ref => of_ref(args, &args.target),
        Target::Manifest => {
            let settings = Settings::from_env(&args.cache);
            let request = Request { manifest: path.to_owned(), repo: args.repo.clone(), settings, dry_run: false };
            of_ref(args, &compose(&request, &Progress::on_terminal())?.reference)
        }
    }
}

/// An existing file is itself; what looks like a file's name is one that is missing.
fn target(text: &str, is_file: bool) -> Target {
    let extension = Path::new(text).extension().and_then(|extension| extension.to_str());
    match extension {
        Some("toml") => Target::Manifest,
        Some("raw" | "img" | "qcow2") => Target::File,
        _ if is_file || text.starts_with(['.', '/']) => Target::File,
        _ => Target::Ref,
    }
}

fn open(path: &Path, persist: bool) -> Result<Disk> {
    let mut head = Vec::new();
    let mut file = File::open(path).with_context(|| format!("cannot read the disk {}", path.display()))?;
    file.by_ref()
        .take(512)
        .read_to_end(&mut head)
        .with_context(|| format!("cannot read the disk {}", path.display()))?;
    if head.len() < 512 {
        bail!("{} is no disk: it has less than one sector", path.display());
    }
    Ok(Disk { path: path.to_owned(), format: Format::of(&head), writes: writes(persist) })
}

/// The disk of a ref's present commit; to be kept, a copy that outlives the ref's moving on.
fn of_ref(args: &Args, reference: &str) -> Result<Disk> {
    let dir = args.cache.join("images");
    let name = reference.replace('/', "-");
    let kept = dir.join(format!("{name}.kept.qcow2"));
    if args.persist && kept.exists() {
        eprintln!("going on with {}; remove it to start afresh", kept.display());
        return open(&kept, true);
    }
    let image = made(args, reference, &dir, &name)?;
    if !args.persist {
        return open(&image, false);
    }
    let copy = tempfile::Builder::new().prefix(".new-").tempfile_in(&dir).context("cannot copy the disk")?;
    fs::copy(&image, copy.path()).context("cannot copy the disk")?;
    copy.persist(&kept).context("cannot copy the disk")?;
    open(&kept, true)
}

/// Makes the image unless the one of this commit is there; drops those of former commits.
fn made(args: &Args, reference: &str, dir: &Path, name: &str) -> Result<PathBuf> {
    let checksum = resolve(&args.repo, reference)?;
    let image = dir.join(format!("{name}-{}.qcow2", checksum.get(..16).unwrap_or(&checksum)));
    if image.exists() {
        return Ok(image);
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut request = ImageRequest::new(&args.repo, reference, &image);
    request.format = keelson_image::Format::Qcow2;
    request.commit = Some(checksum);
    let home = gnupg_home();
    let keys = if home.is_dir() { signing::public_keys(&home)? } else { Vec::new() };
    request.trusted_keys = Some(keys).filter(|keys| !keys.is_empty());
    keelson_image::build(&request, &DiskSteps::default())
        .with_context(|| format!("no image of {reference} was made"))?;
    for old in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if old != image && is_image_of(&old, name) {
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

fn resolve(repo: &Path, reference: &str) -> Result<String> {
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

    #[test]
    fn a_missing_disk_is_named() {
        let error = open(Path::new("/no/such.raw"), false).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot read the disk /no/such.raw: No such file"), "{error:#}");
    }
}
