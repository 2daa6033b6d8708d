//! `keelctl rollback`.

use super::follow::follow;
use super::print;
use super::session::Session;

/// Make the other version the next to boot
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Makes the version before the running one the next to boot. Where a newer one is staged or pending, \
        drops or demotes that instead, so that the running one boots again. /var is shared between versions and stays; \
        each version has its own /etc.",
    after_help = "Examples:\n  keelctl rollback --reboot\n  keelctl rollback && keelctl rollback   there and back"
)]
pub struct Args {
    /// Reboot when done
    #[arg(long)]
    reboot: bool,
}

/// Runs the verb.
pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    print::outcome(follow(session, session.keeld.rollback(args.reboot)).await?, session.json)
}
