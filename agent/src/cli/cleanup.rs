//! `keelctl cleanup`.

use super::follow::follow;
use super::print;
use super::session::Session;

/// Free disk space: drop deployments and prune the repository
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Removes from the repository what no deployment needs, also what was downloaded but not staged. With \
        the flags, drops deployments first. The running deployment and pinned ones are never dropped.",
    after_help = "Examples:\n  keelctl cleanup\n  keelctl cleanup --rollback   give the previous version's space back"
)]
pub struct Args {
    /// Drop the staged or pending deployment
    #[arg(long)]
    pending: bool,
    /// Drop the deployment that `keelctl rollback` would go back to
    #[arg(long)]
    rollback: bool,
}

/// Runs the verb.
pub async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    print::outcome(follow(session, session.keeld.cleanup(args.pending, args.rollback)).await?, session.json)
}
