//! `keelctl remote`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;

use crate::deploy::remote::RemoteInfo;

use super::follow::follow;
use super::print;
use super::session::{Session, answer};

/// Show or change where updates come from and whose signature they need
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows the remotes of this host with their URL and trusted keys, or changes the one that the host \
        follows.",
    after_help = "Examples:\n  \
        keelctl remote\n  \
        keelctl remote set --url http://10.0.2.2:8000\n  \
        keelctl remote set --key next-key.asc        trust a second key, before the signer changes\n  \
        keelctl remote set --forget-key FINGERPRINT  trust the first no more, after it"
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the remotes (the default)
    Show,
    /// Change the remote that the host follows
    Set(Set),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Set {
    /// The URL of its repository
    #[arg(long)]
    url: Option<String>,
    /// A file with an OpenPGP public key to trust for it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Forget the keys trusted before
    #[arg(long)]
    replace_keys: bool,
    /// Trust the key with this fingerprint no more
    #[arg(long, value_name = "FINGERPRINT", conflicts_with_all = ["url", "key", "replace_keys"])]
    forget_key: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    match args.what {
        None | Some(What::Show) => {
            let remotes: Vec<RemoteInfo> = answer(session.keeld.remotes().await)?;
            if session.json { print::document(&remotes) } else { print::line(&text(&remotes)) }
        }
        Some(What::Set(set)) if !set.forget_key.is_empty() => {
            let start = session.keeld.forget_keys(&set.forget_key);
            print::outcome(follow(session, start).await?, session.json)
        }
        Some(What::Set(set)) => {
            let key = read_key(set.key.as_deref())?;
            let url = set.url.unwrap_or_default();
            let start = session.keeld.set_remote(&url, &key, set.replace_keys);
            print::outcome(follow(session, start).await?, session.json)
        }
    }
}

/// The content of a key file; empty where there is none.
pub fn read_key(path: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    match path {
        None => Ok(Vec::new()),
        Some(path) => std::fs::read(path).with_context(|| format!("cannot read the key {}", path.display())),
    }
}

fn text(remotes: &[RemoteInfo]) -> String {
    let mut out = String::new();
    for remote in remotes {
        let _ = writeln!(out, "{}", remote.name);
        let _ = writeln!(out, "    URL        {}", remote.url.as_deref().unwrap_or("none"));
        let required = if remote.gpg_verify { "required" } else { "NOT REQUIRED (gpg-verify=false)" };
        let _ = writeln!(out, "    Signature  {required}");
        for key in &remote.keys {
            let _ = writeln!(out, "    Key        {key}");
        }
    }
    if out.is_empty() { "No remote is configured.".to_owned() } else { out }
}
