//! The verb `compose`: a manifest becomes a commit.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::compose::{Outcome, Request, compose};
use crate::progress::Progress;
use crate::settings::Settings;

/// Compose a manifest into a commit of an OSTree repository
///
/// Takes the packages that the lock file beside the manifest names (making the lock when there is
/// none), unpacks and configures them, and commits the result, signed, to the manifest's ref.
/// Nothing is committed when neither the manifest nor the lock changed.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  keelson compose manifests/host.toml\n  \
    keelson compose --repo /srv/repo --json manifests/host.toml\n  \
    keelson compose --dry-run manifests/host.toml    # what would change\n\n\
    Environment:\n  KEELSON_MIRROR       URL below which debian/ and debian-security/ are\n  \
    KEELSON_GNUPGHOME    GnuPG home of the signing key (default ~/.config/keelson/gnupg)")]
pub struct Args {
    /// The repository to commit to; made when there is none
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_REPO)]
    repo: PathBuf,
    /// Folder of downloads, layers and other things that can be made again
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_CACHE)]
    cache: PathBuf,
    /// Print one JSON document: ref, checksum, version, changed, packages
    #[arg(long)]
    json: bool,
    /// Say what would change and commit nothing
    #[arg(long)]
    dry_run: bool,
    /// The manifest
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args { repo, cache, json, dry_run, manifest } = args;
    let settings = Settings::from_env(&cache);
    let outcome = compose(&Request { manifest, repo, settings, dry_run }, &Progress::on_terminal())?;
    if json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        tell(&outcome, dry_run);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(outcome: &Outcome, dry_run: bool) {
    let Outcome { reference, checksum, version, changed, packages } = outcome;
    match (changed, dry_run) {
        (false, _) => println!("{reference} is unchanged: version {version}, commit {checksum}"),
        (true, true) => println!("{reference} would become version {version}\n{packages}"),
        (true, false) => println!("{reference} is now version {version}, commit {checksum}\n{packages}"),
    }
}
