//! The flags about what a container may use up.

use bollard::models::{HostConfig, ResourcesUlimits};

use super::super::parse::{size, ulimit};
use super::some;
use keelson_containers::words;

/// Limits that can be changed while a container runs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// At most this much memory: 512m, 2g
    #[arg(short, long, value_name = "BYTES", value_parser = words::size)]
    pub memory: Option<i64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = size::bytes_or_unlimited)]
    pub memory_swap: Option<i64>,
    /// Memory that is left to it when the host runs short
    #[arg(long, value_name = "BYTES", value_parser = words::size)]
    pub memory_reservation: Option<i64>,
    /// At most so many processors: 0.5, 2
    #[arg(long, value_name = "NUMBER", value_parser = size::cpus, conflicts_with_all = ["cpu_period", "cpu_quota"])]
    pub cpus: Option<i64>,
    /// Its weight against other containers; 1024 is usual
    #[arg(short, long, value_name = "WEIGHT")]
    pub cpu_shares: Option<i64>,
    /// The period of --cpu-quota in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_period: Option<i64>,
    /// Time of the processors in a period
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_quota: Option<i64>,
    /// The processors it may use: 0-3, 0,1
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// The memory nodes it may use
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// At most so many processes; -1 for no limit
    #[arg(long, value_name = "NUMBER")]
    pub pids_limit: Option<i64>,
}

impl Limits {
    /// Says what cannot be together.
    pub fn check(&self) -> anyhow::Result<()> {
        if let (Some(memory), Some(swap)) = (self.memory, self.memory_swap) {
            anyhow::ensure!(
                swap <= 0 || swap >= memory,
                "Minimum memoryswap limit should be larger than memory limit, see usage"
            );
        }
        Ok(())
    }
}

/// Limits of a container.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Resources {
    #[command(flatten)]
    limits: Limits,
    /// A limit of its processes: nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = ulimit::ulimit)]
    ulimit: Vec<ResourcesUlimits>,
    /// Do not kill it when memory runs out
    #[arg(long)]
    oom_kill_disable: bool,
    /// How likely it is killed when memory runs out: -1000 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(-1000..=1000))]
    oom_score_adj: Option<i64>,
}

impl Resources {
    /// Puts the flags into the request.
    pub fn apply(self, host: &mut HostConfig) -> anyhow::Result<()> {
        let limits = self.limits;
        limits.check()?;
        host.memory = limits.memory;
        host.memory_swap = limits.memory_swap;
        host.memory_reservation = limits.memory_reservation;
        host.nano_cpus = limits.cpus;
        host.cpu_shares = limits.cpu_shares;
        host.cpu_period = limits.cpu_period;
        host.cpu_quota = limits.cpu_quota;
        host.cpuset_cpus = limits.cpuset_cpus;
        host.cpuset_mems = limits.cpuset_mems;
        host.pids_limit = limits.pids_limit;
        host.ulimits = some(self.ulimit);
        host.oom_kill_disable = self.oom_kill_disable.then_some(true);
        host.oom_score_adj = self.oom_score_adj;
        Ok(())
    }
}
