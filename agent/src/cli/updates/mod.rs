//! `keelctl updates`: how it stands with going over to a new version ([`status`]), doing it now ([`apply`]),
//! and the agent that does it by itself ([`run`]). All of them look and act by [`agent`].

mod act;
mod agent;
mod apply;
mod guard;
mod run;
mod status;

use clap::Subcommand;

use super::health::Paths;
use super::print;
use agent::Agent;

/// Show and control how this host goes over to new versions
#[derive(Debug, clap::Args)]
#[command(
    long_about = "A host goes over to new versions as `update` of keelson-host(5) says: at once, in windows, or when \
        somebody says so. It waits for its turn and for a window, asks for the reboot lock of its fleet, has the pods of \
        its node go, and reboots; once it is healthy again it gives the lock back. keelson-update.service does so by \
        itself; this shows what it does next and what it waits for.\n\n\
        What `keelctl update` does is another thing: it changes the limits of containers, as Docker's.",
    after_help = "Examples:\n  keelctl updates\n  keelctl updates --json | jq -r .next.step\n  \
        sudo keelctl updates apply            take the newest version now, where its time has come\n  \
        sudo keelctl updates apply --now      also out of its turn and out of windows\n  \
        sudo keelctl updates release          give the reboot lock back by hand"
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    places: Paths,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show the policy, the next step and what it waits for (the default)
    Status,
    /// Go over to the newest version: stage it, take the lock, drain the node, reboot
    Apply(apply::Args),
    /// Give the reboot lock back, and let new pods come again
    Release,
    /// Do all of it by itself, as the host was told; systemd runs this
    #[command(hide = true)]
    Run,
}

/// Runs a verb.
pub async fn run(args: Args, bus: Option<&str>, json: bool) -> anyhow::Result<()> {
    match args.what {
        Some(What::Run) => run::run(args.places, bus).await,
        None | Some(What::Status) => status::run(&Agent::open(args.places, bus, json).await?).await,
        Some(What::Apply(apply)) => apply::run(&apply, &Agent::open(args.places, bus, json).await?).await,
        Some(What::Release) => release(&Agent::open(args.places, bus, json).await?).await,
    }
}

async fn release(agent: &Agent) -> anyhow::Result<()> {
    guard::need_root("release")?;
    let _guard = guard::take()?;
    let message = act::release(agent).await?;
    if agent.json { print::document(&serde_json::json!({ "message": message })) } else { print::line(&message) }
}
