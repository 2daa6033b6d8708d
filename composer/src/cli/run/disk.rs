//! Owns what a machine boots, and what becomes of its writes.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use keelson_qemu::machine::{Disk, Format};

use super::super::disk::{self, Target};
use super::{Args, writes};
use crate::compose::{Request, compose};
use crate::progress::Progress;
use crate::settings::Settings;

/// Finds or makes the disk that `args` ask for.
pub(super) fn find(args: &Args) -> Result<Disk> {
    let path = Path::new(&args.target);
    match disk::target(&args.target, path.is_file()) {
        Target::File => open(path, args.persist),
        Target::Ref => of_ref(args, &args.target),
        Target::Manifest => {
            let settings = Settings::from_env(&args.cache);
            let request = Request { manifest: path.to_owned(), repo: args.repo.clone(), settings, dry_run: false };
            of_ref(args, &compose(&request, &Progress::on_terminal())?.reference)
        }
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
    let dir = disk::folder(&args.cache);
    let name = reference.replace('/', "-");
    let kept = dir.join(format!("{name}.kept.qcow2"));
    if args.persist && kept.exists() {
        eprintln!("going on with {}; remove it to start afresh", kept.display());
        return open(&kept, true);
    }
    let image = disk::image(&args.repo, &args.cache, reference)?;
    if !args.persist {
        return open(&image, false);
    }
    let copy = tempfile::Builder::new().prefix(".new-").tempfile_in(&dir).context("cannot copy the disk")?;
    fs::copy(&image, copy.path()).context("cannot copy the disk")?;
    copy.persist(&kept).context("cannot copy the disk")?;
    open(&kept, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_disk_is_named() {
        let error = open(Path::new("/no/such.raw"), false).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot read the disk /no/such.raw: No such file"), "{error:#}");
    }
}
