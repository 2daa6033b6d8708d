//! The verbs of keelctl about the Kubernetes cluster that this host is a node of. The work is done by
//! `keeld-node`, a program of its own ([`program`]), and its daemon, which systemd runs ([`super::systemd`])
//! and which tells how it stands on a socket ([`socket`]); keelctl has no Kubernetes in it.

mod config;
mod join;
mod leave;
mod program;
mod progress;
mod socket;
mod status;

use std::path::PathBuf;

use anyhow::ensure;
use clap::Subcommand;

pub(super) use config::Config;
pub(super) use program::{Failure, run as run_program};
pub(super) use progress::Progress;
pub(super) use socket::Reports;

/// The unit of the node's daemon.
pub(super) const UNIT: &str = "keelson-node.service";

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Join(Box<join::Args>),
    Leave(leave::Args),
    #[command(subcommand)]
    Node(Node),
}

/// The names of the verbs, for the help.
pub const VERBS: &[&str] = &["join", "leave", "node"];

/// The Kubernetes node that this host is
#[derive(Debug, Subcommand)]
pub enum Node {
    Status(status::Args),
}

/// Where things are; other places are for development.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Places {
    /// The program that does the work
    #[arg(long, value_name = "FILE", hide = true, default_value = "/usr/libexec/keelson/keeld-node")]
    pub(super) program: PathBuf,
    /// The node's configuration
    #[arg(long, value_name = "FILE", hide = true, default_value = "/etc/keelson/node.toml")]
    pub(super) config: PathBuf,
    /// The socket on which the node tells how it stands
    #[arg(long, value_name = "PATH", hide = true, default_value = "/run/keelson/node/status.sock")]
    pub(super) socket: PathBuf,
}

/// Runs a verb.
pub async fn run(verb: Verb, bus: Option<&str>, json: bool) -> anyhow::Result<()> {
    match verb {
        Verb::Join(args) => join::run(*args, bus, json).await,
        Verb::Leave(args) => leave::run(args, bus, json).await,
        Verb::Node(Node::Status(args)) => status::run(&args, json).await,
    }
}

fn need_root(verb: &str) -> anyhow::Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "`keelctl {verb}` needs root; try `sudo keelctl {verb}`");
    Ok(())
}
