//! The verbs of `keelson cluster`, one file each.

mod down;
mod image;
mod list;
mod ssh;
mod status;
mod up;
mod upgrade;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::cluster::folder::{Folder, base};
use crate::cluster::stop::{INTERRUPTED, Interrupted};

/// Run clusters of virtual machines here: a master and its nodes
///
/// All machines are of one image, each with a cloud-init seed of its own. They stay on in the background until
/// `keelson cluster down`, need no root, and have a network of their own that leads nowhere else; from this machine
/// they are reached by ports of 127.0.0.1. Everything of a cluster is in one folder below
/// $XDG_STATE_HOME/keelson/clusters (~/.local/state/keelson/clusters).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson cluster up --nodes 3\n  keelson cluster status\n  \
    keelson cluster ssh node1 -- keelctl node status\n  keelson cluster upgrade\n  keelson cluster down")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(up::Args),
    Status(status::Args),
    Ssh(ssh::Args),
    Upgrade(upgrade::Args),
    Down(down::Args),
    List(list::Args),
}

/// Which cluster.
#[derive(Debug, clap::Args)]
struct Which {
    /// The cluster's name
    #[arg(long, value_name = "NAME", default_value = "keelson")]
    name: String,
}

impl Which {
    /// The folder that it has, or would have.
    fn folder(&self) -> Result<Folder> {
        Folder::of(&base()?, &self.name)
    }
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let ended = match args.verb {
        Verb::Up(args) => up::run(args),
        Verb::Status(args) => status::run(args),
        Verb::Ssh(args) => ssh::run(args),
        Verb::Upgrade(args) => upgrade::run(args),
        Verb::Down(args) => down::run(args),
        Verb::List(args) => list::run(args),
    };
    match ended {
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("keelson: {error:#}");
            Ok(ExitCode::from(INTERRUPTED))
        }
        ended => ended,
    }
}
