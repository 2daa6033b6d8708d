//! `keelctl rebase`.

use std::path::PathBuf;

use super::follow::follow;
use super::session::Session;
use super::{print, remote};

/// Follow another ref from here on
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Pulls and stages the newest commit of another ref, and follows that ref from the next boot on. The \
        commit must be signed like any other; its age does not matter. With --remote-url and --key the remote is \
        changed first, and put back where the rebase fails.",
    after_help = "Examples:\n  \
        keelctl rebase keelson/next\n  \
        keelctl rebase keelson/host --remote-url https://updates.example.org/repo --key new-key.asc"
)]
pub struct Args {
    /// REF, or REMOTE:REF
    #[arg(value_name = "REF")]
    refspec: String,
    /// The URL of the remote's repository from here on
    #[arg(long, value_name = "URL")]
    remote_url: Option<String>,
    /// A file with an OpenPGP public key to trust from here on
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Forget the keys trusted before
    #[arg(long, requires = "key")]
    replace_keys: bool,
    /// Reboot when staged
    #[arg(long)]
    reboot: bool,
}

/// Runs the verb.
pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let key = remote::read_key(args.key.as_deref())?;
    let url = args.remote_url.unwrap_or_default();
    let start = session.keeld.rebase(&args.refspec, &url, &key, args.replace_keys, args.reboot);
    print::outcome(follow(session, start).await?, session.json)
}
