//! The verb `diff`: what differs between two commits.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::diff;

/// Show what differs between two commits: packages, and files that no package explains
///
/// Lists the packages added, removed, upgraded and downgraded from A to B, then the files that
/// changed although their package did not, or that belong to no package: the initramfs, links,
/// what the manifest copies in. Paths are those of the commit, where /etc is /usr/etc.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson diff keelson/host/amd64^ keelson/host/amd64\n  \
    keelson diff --json 4f1c 9a02 | jq .packages.upgraded\n\n\
    A commit is named by a ref, a checksum or its unique beginning; `^` after it is its parent.")]
pub struct Args {
    /// The repository
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_REPO)]
    repo: PathBuf,
    /// Print one JSON document: from, to, packages, files
    #[arg(long)]
    json: bool,
    /// The old commit
    #[arg(value_name = "A")]
    from: String,
    /// The new commit
    #[arg(value_name = "B")]
    to: String,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let repo = diff::open(&args.repo)?;
    let diff = diff::between(&repo, &args.from, &args.to)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&diff)?);
    } else {
        print!("{diff}");
    }
    Ok(ExitCode::SUCCESS)
}
