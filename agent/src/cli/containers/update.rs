//! `keelctl update`.

use std::process::ExitCode;

use bollard::models::{ContainerUpdateBody, ContainerUpdateResponse, RestartPolicy};

use super::Context;
use super::client::Target;
use super::common::each;
use super::options::Limits;
use super::parse::restart;

/// Change the limits and the restart policy of containers, also of those that run
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl update --memory 1g --restart always web")]
pub struct Args {
    #[command(flatten)]
    limits: Limits,
    /// Start it again when it ends: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = restart::policy)]
    restart: Option<RestartPolicy>,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let limits = args.limits;
    limits.check()?;
    let body = ContainerUpdateBody {
        memory: limits.memory,
        memory_swap: limits.memory_swap,
        memory_reservation: limits.memory_reservation,
        nano_cpus: limits.cpus,
        cpu_shares: limits.cpu_shares,
        cpu_period: limits.cpu_period,
        cpu_quota: limits.cpu_quota,
        cpuset_cpus: limits.cpuset_cpus,
        cpuset_mems: limits.cpuset_mems,
        pids_limit: limits.pids_limit,
        restart_policy: args.restart,
        ..ContainerUpdateBody::default()
    };
    anyhow::ensure!(
        body != ContainerUpdateBody::default(),
        "you must provide one or more flags when using this command"
    );
    each(context, &args.containers, async |name| {
        let done: ContainerUpdateResponse = context.client.post(&Target::container(name, "update"), &body).await?;
        for warning in done.warnings.unwrap_or_default() {
            eprintln!("{warning}");
        }
        Ok(())
    })
    .await
}
