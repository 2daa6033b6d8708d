//! The verb `cluster down`: a cluster, or what is left of one, is no more.

use std::process::ExitCode;

use anyhow::Result;

use super::Which;
use crate::cluster::folder::{Lock, base};
use crate::cluster::power;

/// Power a cluster's machines off and remove all of it
///
/// Machines that have not gone off within a minute are switched off. Their disks go with them. What a command that
/// was killed left behind goes as well, and where there is nothing, nothing is done.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson cluster down\n  keelson cluster down --name test --dry-run")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Say what would go, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let base = base()?;
    let folder = args.which.folder()?;
    let _lock = Lock::take(&base, &args.which.name)?;
    let running = power::running(&folder);
    if running.is_empty() && !folder.path().exists() {
        println!("there is no cluster {}", args.which.name);
        return Ok(ExitCode::SUCCESS);
    }
    if args.dry_run {
        let further = folder.further_kubeconfig();
        running.iter().for_each(|name| println!("would power off {name}"));
        further.iter().chain([&folder.path().to_owned()]).for_each(|path| println!("would remove {}", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    power::off(&folder)?;
    folder.remove()?;
    println!("the cluster {} is gone", args.which.name);
    Ok(ExitCode::SUCCESS)
}
