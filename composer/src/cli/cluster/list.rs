//! The verb `cluster list`: the clusters that there are.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use crate::cluster::folder::{Folder, base, is_locked, names};
use crate::cluster::power;
use crate::cluster::status::aligned;

/// Show the clusters that there are
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson cluster list\n  keelson cluster list --json | jq -r '.[].name'")]
pub struct Args {
    /// Print one JSON document: a list of name, folder, complete, machines, on
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let base = base()?;
    let mut rows = vec![["NAME", "MACHINES ON", "MADE OF"].map(str::to_owned)];
    let mut documents = Vec::new();
    for name in names(&base) {
        let folder = Folder::of(&base, &name)?;
        let on = power::running(&folder).len();
        let cluster = folder.cluster();
        let machines = cluster.as_ref().map_or(0, |cluster| cluster.machines.len());
        let complete = cluster.as_ref().is_ok_and(|cluster| cluster.complete);
        documents.push(json!({
            "name": name, "folder": folder.path(), "complete": complete, "machines": machines, "on": on,
        }));
        let source = match &cluster {
            Ok(cluster) if complete => cluster.source.target.clone(),
            _ if is_locked(&base, &name) => "a command is at work on it".to_owned(),
            _ => format!("never whole; `keelson cluster down --name {name}` clears it away"),
        };
        rows.push([name, format!("{on} of {machines}"), source]);
    }
    match (args.json, rows.len()) {
        (true, _) => println!("{:#}", json!(documents)),
        (false, 1) => println!("there is no cluster: `keelson cluster up` makes one"),
        (false, _) => print!("{}", aligned(&rows)),
    }
    Ok(ExitCode::SUCCESS)
}
