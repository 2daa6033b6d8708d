//! The verb `cluster ssh`: a shell, or a command, on a machine.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::Which;
use crate::cluster::power;
use crate::cluster::remote::Remote;

/// Log in to a machine, or run a command on it
///
/// As the user `keelson`, who may do everything by sudo. This program becomes ssh, whose exit code is the command's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson cluster ssh\n  keelson cluster ssh node1\n  \
    keelson cluster ssh node2 -- sudo journalctl -b -u keelson-node\n  keelson cluster ssh --name test master -- keelctl status")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The machine, with or without the cluster's name
    #[arg(value_name = "MACHINE", default_value = "master")]
    machine: String,
    /// The command
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let folder = args.which.folder()?;
    let cluster = folder.cluster()?;
    let machine = cluster.machine(&args.machine)?;
    ensure!(power::is_on(&folder, machine), "{} is off: `keelson cluster status` shows the others", machine.name);
    let mut ssh = Remote::new(&folder)?.login(machine)?;
    if !args.command.is_empty() {
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            ssh.arg("-t");
        }
        ssh.arg("--").args(&args.command);
    }
    Err(anyhow::Error::from(ssh.exec()).context("cannot run ssh (apt install openssh-client)"))
}
