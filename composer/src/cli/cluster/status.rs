//! The verb `cluster status`: a cluster's machines as they are now.

use std::process::ExitCode;

use anyhow::Result;

use super::Which;
use crate::cluster::status::status;

/// Show a cluster's machines: on or off, which version, Ready or not
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson cluster status\n  \
    keelson cluster status --json | jq -r '.machines[] | select(.node.ready) | .name'")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let folder = args.which.folder()?;
    let status = status(&folder, &folder.cluster()?)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", status.table());
    println!("\nKUBECONFIG={}", status.kubeconfig.display());
    if !status.complete {
        println!("It never was whole: `keelson cluster down --name {}` clears it away.", status.name);
    }
    Ok(ExitCode::SUCCESS)
}
