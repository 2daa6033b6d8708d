//! `keelctl pin` and `keelctl unpin`.

use super::follow::follow;
use super::print;
use super::session::Session;

/// Keep a deployment, however many newer ones come
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Keeps a deployment until it is unpinned: neither upgrades nor cleanup remove it, and it stays in the \
        boot menu.",
    after_help = "Example:\n  keelctl pin 0   keep the first deployment `keelctl status` lists"
)]
pub struct PinArgs {
    /// The deployment's index in `keelctl status`
    index: u32,
}

/// Let a pinned deployment go
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Undoes `keelctl pin`: the deployment goes when a newer one pushes it out.",
    after_help = "Example:\n  keelctl unpin 2"
)]
pub struct UnpinArgs {
    /// The deployment's index in `keelctl status`
    index: u32,
}

/// Runs `pin`.
pub async fn pin(args: PinArgs, session: &Session) -> anyhow::Result<()> {
    change(args.index, true, session).await
}

/// Runs `unpin`.
pub async fn unpin(args: UnpinArgs, session: &Session) -> anyhow::Result<()> {
    change(args.index, false, session).await
}

async fn change(index: u32, pinned: bool, session: &Session) -> anyhow::Result<()> {
    print::outcome(follow(session, session.keeld.pin(index, pinned)).await?, session.json)
}
