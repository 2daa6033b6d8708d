//! `keelctl kargs`.

use serde_json::json;

use crate::model::request::KargsEdit;

use super::follow::follow;
use super::print;
use super::session::Session;

/// Show or change the kernel arguments
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows the kernel arguments the next boot gets, or stages the same version with other ones. Upgrades \
        carry them on: what you add stays, what you change or delete stays so, and where a version changes a default \
        that you left alone, the default changes.",
    after_help = "Examples:\n  \
        keelctl kargs\n  \
        keelctl kargs --append loglevel=6 --delete quiet --reboot\n  \
        keelctl kargs --replace console=ttyS0=ttyS1   one of several consoles"
)]
pub struct Args {
    /// Add KEY or KEY=VALUE at the end
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    append: Vec<String>,
    /// Take KEY or KEY=VALUE away
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    delete: Vec<String>,
    /// Set KEY=NEW where KEY is set once, or KEY=OLD=NEW
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    replace: Vec<String>,
    /// Reboot when staged
    #[arg(long)]
    reboot: bool,
}

/// Runs the verb.
pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let edit = KargsEdit { delete: args.delete, replace: args.replace, append: args.append };
    if edit.is_empty() {
        return show(session).await;
    }
    let start = session.keeld.edit_kargs(&edit.delete, &edit.replace, &edit.append, args.reboot);
    print::outcome(follow(session, start).await?, session.json)
}

async fn show(session: &Session) -> anyhow::Result<()> {
    let status = session.status().await?;
    let next = status.next_boot().map(|deployment| deployment.kargs.clone()).unwrap_or_default();
    let booted = status.booted.as_ref().map(|deployment| &deployment.kargs);
    if session.json {
        return print::document(&json!({ "next": next, "booted": booted }));
    }
    print::line(&next.join(" "))?;
    if booted.is_some_and(|booted| *booted != next) {
        eprintln!("(after a reboot; `keelctl kargs --json` shows the running ones too)");
    }
    Ok(())
}
