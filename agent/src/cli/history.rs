//! `keelctl history`.

use std::fmt::Write;

use crate::history::Entry;

use super::print;
use super::session::{Session, answer};

/// Show what was deployed, booted and rolled back when
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Shows what keeld noted, newest last: every boot with the version that booted (and why, where it is \
        not the one that should have), and every change with who asked for it. Needs no privilege.",
    after_help = "Examples:\n  keelctl history\n  keelctl history -n 3 --json"
)]
pub struct Args {
    /// Only the last N
    #[arg(short, long, value_name = "N")]
    number: Option<usize>,
}

/// Runs the verb.
pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let entries: Vec<Entry> = answer(session.keeld.history().await)?;
    let skipped = args.number.map_or(0, |number| entries.len().saturating_sub(number));
    let shown = &entries[skipped..];
    if session.json { print::document(&shown) } else { print::line(&text(shown)) }
}

fn text(entries: &[Entry]) -> String {
    let mut out = String::new();
    for entry in entries {
        let who = entry.uid.map(|uid| format!(" (uid {uid})")).unwrap_or_default();
        let message = entry.message.as_deref().unwrap_or_default();
        let _ = writeln!(out, "{} {:<14} {message}{who}", entry.time, entry.event.word());
    }
    if out.is_empty() { "Nothing was noted yet.".to_owned() } else { out }
}
