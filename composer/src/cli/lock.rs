//! The verb `lock`: which packages a manifest is composed of, chosen anew or compared.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use keelson_common::packages::PackageDiff;
use serde_json::json;

use crate::deb::archive::ControlArchive;
use crate::images;
use crate::lock::{LOCAL, Lock};
use crate::manifest::{self, Manifest};
use crate::resolve::local::{measure, packages};
use crate::resolve::{request, resolve};
use crate::settings::Settings;

/// Choose the packages and images of a manifest and write them into its lock file
///
/// apt's solver chooses, over indexes whose signatures were verified. Accounts keep the ids the
/// lock has for them.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  keelson lock manifests/host.toml\n  \
    keelson lock --check manifests/host.toml    # what newer versions exist\n  \
    keelson lock --local manifests/host.toml    # take over rebuilt local packages only")]
pub struct Args {
    /// Say what newer versions exist and write nothing
    #[arg(long, conflicts_with = "local")]
    check: bool,
    /// Take over changed packages of local folders and images of archives, and leave all others as
    /// they are locked
    #[arg(long)]
    local: bool,
    /// Folder of package indexes
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_CACHE)]
    cache: PathBuf,
    /// Print one JSON document: lock, changed, packages
    #[arg(long)]
    json: bool,
    /// The manifest
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let manifest = manifest::load(&args.manifest)?;
    let path = Lock::path_for(&manifest.path);
    let old = Lock::read(&path).or_else(|error| if args.check || args.local { Err(error) } else { Ok(None) })?;
    let new = match (&old, args.local) {
        (Some(old), true) if old.request == request(&manifest) => refresh_local(old, &manifest, &args.cache)?,
        (Some(_), true) => {
            bail!("{} was made for another manifest; run `keelson lock` without --local", path.display())
        }
        _ => {
            let mut lock = resolve(&manifest, &Settings::from_env(&args.cache))?;
            old.iter().for_each(|old| lock.keep_accounts_of(old));
            lock
        }
    };
    let before = old.as_ref().map(Lock::package_list).unwrap_or_default();
    let diff = PackageDiff::between(&before, &new.package_list());
    let changed = old.as_ref() != Some(&new);
    if changed && !args.check {
        new.write(&path)?;
    }
    if args.json {
        let document = json!({ "lock": path, "changed": changed, "packages": diff });
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        tell(&path, &args, &diff, new.packages.len(), changed);
        tell_images(old.as_ref(), &new);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(path: &Path, args: &Args, diff: &PackageDiff, count: usize, changed: bool) {
    let path = path.display();
    match (args.check, changed) {
        (true, _) if diff.is_empty() => println!("{path} has the newest versions of its {count} packages"),
        (true, _) => println!("{path} would change:\n{diff}"),
        (false, true) => println!("{path} now has {count} packages\n{diff}"),
        (false, false) => println!("{path} is unchanged: {count} packages"),
    }
}

/// Images whose digest is another one.
fn tell_images(old: Option<&Lock>, new: &Lock) {
    for image in &new.images {
        let before = old.and_then(|old| old.images.iter().find(|other| other.name == image.name));
        match before {
            Some(before) if before.digest == image.digest => {}
            Some(before) => println!("image {}: {} -> {}", image.name, before.digest, image.digest),
            None => println!("image {}: {}", image.name, image.digest),
        }
    }
}

/// The lock with the packages of local folders, and the images of archives, as they are now.
fn refresh_local(old: &Lock, manifest: &Manifest, cache: &Path) -> Result<Lock> {
    let mut lock = old.clone();
    lock.images = images::resolve_archives(manifest, &old.images, cache)?;
    for folder in &manifest.local {
        for path in packages(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let control = ControlArchive::read(&path)?.control;
            let Some(locked) = lock.packages.iter_mut().find(|p| p.origin == LOCAL && p.name == control.name) else {
                continue;
            };
            let (size, sha256) = measure(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (locked.version, locked.size, locked.sha256) = (control.version, size, sha256);
            locked.file = format!("pool/{name}");
        }
    }
    Ok(lock)
}
