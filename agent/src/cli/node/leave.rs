//! `keelctl leave`.

use std::path::PathBuf;

use anyhow::ensure;
use serde_json::json;

use super::super::{confirm, print};
use super::program::Failure;
use super::progress::Progress;
use super::{Places, UNIT, need_root, program};
use crate::cli::systemd::Systemd;

/// Take this host out of its Kubernetes cluster
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Takes this host out of its cluster: no new pods come, those that are here go elsewhere as disruption \
        budgets allow, then the node is stopped and its containers, volumes, logs, credentials and configuration are \
        removed. Pods of DaemonSets and static pods end here. A node may not delete its own Node object: give an \
        administrator's kubeconfig, or finish with the `kubectl delete node` that is shown.",
    after_help = "Examples:\n  keelctl leave\n  keelctl leave --kubeconfig admin.conf -y\n  \
        keelctl leave --no-drain        when the cluster is gone, or pods may end at once"
)]
pub struct Args {
    /// End pods at once
    #[arg(long)]
    no_drain: bool,
    /// How long pods may take to go
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    timeout: u64,
    /// Also lose pods that nothing makes anew elsewhere, and those that do not go in time
    #[arg(long)]
    force: bool,
    /// An administrator's kubeconfig, to delete the Node object with
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    places: Places,
}

/// Runs the verb.
pub async fn run(args: Args, bus: Option<&str>, json: bool) -> anyhow::Result<()> {
    need_root("leave")?;
    ensure!(args.places.config.exists(), "this host is no node of a cluster");
    if !args.yes && confirm::can_ask() {
        let question = "Take this host out of its cluster, and remove the pods' data on it?";
        ensure!(confirm::ask(question)?, "nothing was changed");
    }
    let progress = Progress::new(json);
    if !args.no_drain {
        drain(&args, &progress).await?;
    }
    progress.waits("stopping the node");
    Systemd::connect(bus).await?.stop(UNIT).await?;
    progress.waits("removing what is left");
    let mut words = vec!["leave".to_owned()];
    if let Some(path) = &args.kubeconfig {
        words.extend(["--kubeconfig".to_owned(), path.to_string_lossy().into_owned()]);
    }
    let message = program::run(&args.places.program, &args.places.config, &words, &progress).await?;
    if json { print::document(&json!({ "message": message })) } else { print::line(&message) }
}

async fn drain(args: &Args, progress: &Progress) -> anyhow::Result<()> {
    progress.waits("waiting for pods to go");
    let mut words = vec!["drain".to_owned(), "--timeout".to_owned(), args.timeout.to_string()];
    words.extend(args.force.then(|| "--force".to_owned()));
    match program::run(&args.places.program, &args.places.config, &words, progress).await {
        Ok(message) => progress.line(&message),
        Err(error) if args.force && error.downcast_ref::<Failure>().is_some() => {
            progress.line(&format!("goes on without: {error}"));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
