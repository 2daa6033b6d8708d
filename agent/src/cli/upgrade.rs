//! `keelctl upgrade`.

use std::fmt::Write;

use crate::model::{Outcome, Request, Transaction, Update, UpdateState};

use super::follow::follow;
use super::session::Session;
use super::{confirm, print, status};

/// Take the newest version: download, check its signature, stage it for the next boot
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Takes the newest version of the ref that this host follows. Its signature is checked before anything \
        is kept, room on the disk before anything is downloaded. The new version is staged beside the running one and \
        becomes the one to boot when the host next goes down; until then nothing that runs changes.\n\n\
        On a terminal the package changes are shown and confirmed first; without one, and with --yes or --json, nobody \
        is asked. keelctl may be interrupted at any time: keeld goes on, and `keelctl upgrade` follows it again.",
    after_help = "Examples:\n  \
        keelctl upgrade --check --json | jq -r .update.state   available, up-to-date, staged or older\n  \
        keelctl upgrade --download-only                        fetch it now, stage it later\n  \
        keelctl upgrade --yes --reboot                         take it and boot it, asking nothing"
)]
pub struct Args {
    /// Only say what there is and what it would change; exits 0 either way
    #[arg(long, conflicts_with_all = ["download_only", "reboot", "yes"])]
    check: bool,
    /// Stop when everything is downloaded
    #[arg(long, conflicts_with = "reboot")]
    download_only: bool,
    /// Reboot when the new version is staged
    #[arg(long)]
    reboot: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Take a version that is older than what is deployed
    #[arg(long)]
    allow_downgrade: bool,
}

/// Runs the verb.
pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    if !args.check
        && let Some(running) = session.status().await?.transaction.filter(is_upgrade)
    {
        eprintln!("Following the upgrade that uid {} started at {}.", running.uid, running.started);
        let ended = follow(session, async { Ok(running.id) }).await?;
        return print::outcome(ended, session.json);
    }
    let checked = print::done(follow(session, session.keeld.check()).await?)?;
    let Some(update) = checked.update.clone() else { return print::line(&checked.message) };
    if args.check {
        return if session.json { print::document(&checked) } else { print::line(&describe(&update, &checked)) };
    }
    if update.state == UpdateState::Available || update.state == UpdateState::Older && args.allow_downgrade {
        if !session.json {
            print::line(&describe(&update, &checked))?;
        }
        if confirm::can_ask() && !args.yes && !session.json && !confirm::ask("Upgrade?")? {
            return print::line("Nothing was changed.");
        }
    }
    let start = session.keeld.upgrade(&update.to.checksum, args.download_only, args.allow_downgrade, args.reboot);
    print::outcome(follow(session, start).await?, session.json)
}

fn is_upgrade(running: &Transaction) -> bool {
    matches!(running.request, Request::Upgrade(_))
}

/// What an update would change, for a person.
pub fn describe(update: &Update, outcome: &Outcome) -> String {
    let mut out = format!("{}\n", outcome.message);
    if matches!(update.state, UpdateState::UpToDate) {
        return out;
    }
    let _ = writeln!(out, "  Commit     {}", update.to.checksum);
    let _ = writeln!(out, "  Ref        {}", update.refspec);
    let _ = writeln!(out, "  Time       {}", update.to.timestamp);
    let _ = writeln!(out, "  Signature  {}", status::signature(&update.signature));
    if let Some(download) = update.download {
        let size = crate::deploy::space::mib(download.bytes);
        let _ = writeln!(out, "  Download   at most {size}");
    }
    if update.packages.is_empty() {
        out.push_str("No package changes.\n");
    }
    let _ = write!(out, "{}", update.packages);
    out
}
