//! `keelctl update`.

use std::process::ExitCode;

use bollard::models::{ContainerUpdateBody, ContainerUpdateResponse, RestartPolicy};

use super::Context;
use super::client::Target;
use super::common::each;
use super::parse::{restart, size};
use keelson_containers::words;

/// Change the limits and the restart policy of containers, also of those that run
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  keelctl update --memory 1g --restart always web")]
pub struct Args {
    /// At most this much memory: 512m, 2g
    #[arg(short, long, value_name = "BYTES", value_parser = words::size)]
    memory: Option<i64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = size::bytes_or_unlimited)]
    memory_swap: Option<i64>,
    /// Memory that is left to it when the host runs short
    #[arg(long, value_name = "BYTES", value_parser = words::size)]
    memory_reservation: Option<i64>,
    /// At most so many processors: 0.5, 2
    #[arg(long, value_name = "NUMBER", value_parser = size::cpus)]
    cpus: Option<i64>,
    /// Its weight against other containers; 1024 is usual
    #[arg(short, long, value_name = "WEIGHT")]
    cpu_shares: Option<i64>,
    /// The period of --cpu-quota in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// Time of the processors in a period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
    /// The processors it may use: 0-3, 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// The memory nodes it may use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// At most so many processes; -1 for no limit
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// Start it again when it ends: no, on-failure[:N], always, unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = restart::policy)]
    restart: Option<RestartPolicy>,
    /// The containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let body = ContainerUpdateBody {
        memory: args.memory,
        memory_swap: args.memory_swap,
        memory_reservation: args.memory_reservation,
        nano_cpus: args.cpus,
        cpu_shares: args.cpu_shares,
        cpu_period: args.cpu_period,
        cpu_quota: args.cpu_quota,
        cpuset_cpus: args.cpuset_cpus,
        cpuset_mems: args.cpuset_mems,
        pids_limit: args.pids_limit,
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
