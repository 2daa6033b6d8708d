//! Owns what a cluster's machines are made of: a disk, a ref, or a manifest, which is composed first.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::disk::{self, Target};
use crate::cluster::state::Source;
use crate::manifest;

/// A disk to make machines of.
pub(super) struct Image {
    /// The file.
    pub(super) path: PathBuf,
    /// Whether it is of our making, and so written to by nobody.
    pub(super) ours: bool,
    /// Where it came from.
    pub(super) source: Source,
}

/// Finds or makes the disk of `target`.
pub(super) fn image(target: &str, repo: &Path, cache: &Path) -> Result<Image> {
    let path = Path::new(target);
    let kind = disk::target(target, path.is_file());
    let named = match kind {
        Target::Ref => target.to_owned(),
        Target::File | Target::Manifest => {
            let whole = path.canonicalize().with_context(|| format!("cannot read {target}"))?;
            whole.to_str().with_context(|| format!("{} is no name in UTF-8", whole.display()))?.to_owned()
        }
    };
    let absolute =
        |path: &Path| std::path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()));
    let (repo, cache) = (absolute(repo)?, absolute(cache)?);
    let reference = match kind {
        Target::File => None,
        Target::Ref => Some(named.clone()),
        Target::Manifest => Some(compose(path, &repo, &cache)?),
    };
    let commit = reference.as_deref().map(|reference| disk::resolve(&repo, reference)).transpose()?;
    let path = match &reference {
        None => PathBuf::from(&named),
        Some(reference) => disk::image(&repo, &cache, reference)?,
    };
    Ok(Image { path, ours: reference.is_some(), source: Source { target: named, repo, cache, reference, commit } })
}

/// Composes a manifest, and gives the ref. It is a process of its own: composing leaves a process with a set of
/// mounts of its own, which QEMU would keep for as long as a cluster lives.
pub(super) fn compose(manifest: &Path, repo: &Path, cache: &Path) -> Result<String> {
    let this = std::env::current_exe().context("cannot tell which program this is")?;
    let mut compose = Command::new(this);
    compose.args(["compose", "--json", "--repo"]).arg(repo).arg("--cache").arg(cache).arg(manifest);
    let output = compose
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{}`", keelson_common::command::line(&compose)))?;
    if !output.status.success() {
        bail!("{} was not composed ({})", manifest.display(), output.status);
    }
    let outcome: Value = serde_json::from_slice(&output.stdout).context("the compose said nothing of use")?;
    outcome["ref"].as_str().map(str::to_owned).context("the compose named no ref")
}

/// The ref that a target stands for; without `composing` a manifest is only read.
pub(super) fn reference(target: &str, repo: &Path, cache: &Path, composing: bool) -> Result<String> {
    let path = Path::new(target);
    match disk::target(target, path.is_file()) {
        Target::Ref => Ok(target.to_owned()),
        Target::Manifest if composing => compose(path, repo, cache),
        Target::Manifest => Ok(manifest::load(path)?.reference),
        Target::File => bail!("there are no new versions of a disk: name a manifest, or a ref with --to"),
    }
}
