//! Owns the command line of `keeld-node`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config;

/// Be a node of a Kubernetes cluster.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "keeld-node",
    version,
    long_about = "The Kubernetes node of this host, in the kubelet's place: it joins the cluster that its configuration \
        names and runs the pods that are bound to it, over containerd. systemd starts it as keelson-node.service; \
        `keelctl join` and `keelctl leave` use its other commands.",
    after_help = "For development it runs beside any containerd, as any node of any cluster:\n\n  \
        keeld-node --config /tmp/node.toml\n\n\
        keelson-node(5) tells of the configuration."
)]
pub struct Options {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = config::PATH, global = true)]
    pub config: PathBuf,
    /// What to do; to run, unless told otherwise
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What can be done.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Join if need be, and be a node until asked to stop
    Run,
    /// Join, and say how it goes
    Join(JoinArgs),
    /// Take the pods of this node away, respecting disruption budgets
    Drain(DrainArgs),
    /// Have new pods come to this node again, unless a person has cordoned it
    Uncordon(UncordonArgs),
    /// Take one of the cluster's slots for nodes that reboot
    Lock(LockArgs),
    /// Give that slot back
    Unlock(UnlockArgs),
    /// Tell the other nodes that a version was given up here, so that they do not go over to it by themselves
    GaveUp(GaveUpArgs),
    /// Remove what the node left on this machine, its credentials and configuration included
    Leave(LeaveArgs),
}

/// Arguments of `join`.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// Only check that it could: the master, the token, the clock
    #[arg(long)]
    pub check: bool,
    /// Take the place of a node of this name that is another machine
    #[arg(long)]
    pub replace: bool,
    /// How long to wait for somebody to approve the certificate
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub timeout: Duration,
    /// How to say what is done.
    #[command(flatten)]
    pub say: SayArgs,
}

/// Arguments of `drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Also pods that nothing makes anew elsewhere
    #[arg(long)]
    pub force: bool,
    /// Mark the cordon as one that `uncordon` may take back
    #[arg(long)]
    pub mark: bool,
    /// How long it may take
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub timeout: Duration,
    /// How to say what is done.
    #[command(flatten)]
    pub say: SayArgs,
}

/// Arguments of `uncordon`.
#[derive(Debug, Clone, Args)]
pub struct UncordonArgs {
    /// How to say what is done.
    #[command(flatten)]
    pub say: SayArgs,
}

/// Arguments of `lock`.
#[derive(Debug, Clone, Args)]
pub struct LockArgs {
    /// How many there are
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub slots: u32,
    /// The commit that it is for; refused where another node gave it up
    #[arg(long, value_name = "CHECKSUM", value_parser = checksum)]
    pub version: Option<String>,
    /// How to say what is done.
    #[command(flatten)]
    pub say: SayArgs,
}

/// Arguments of `unlock`.
#[derive(Debug, Clone, Args)]
pub struct UnlockArgs {
    /// How to say what is done.
    #[command(flatten)]
    pub say: SayArgs,
}

/// Arguments of `gave-up`.
#[derive(Debug, Clone, Args)]
pub struct GaveUpArgs {
    /// The commit
    #[arg(value_name = "CHECKSUM", value_parser = checksum)]
    pub checksum: String,
    /// Its version
    #[arg(long, value_name = "VERSION")]
    pub version: String,
    /// What was not well
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// How to say what is done.
    #[command(flatten)]
    pub say: SayArgs,
}

/// Arguments of `leave`.
#[derive(Debug, Clone, Args)]
pub struct LeaveArgs {
    /// An administrator's kubeconfig, to delete the Node with: a node may not do so
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How to say what is done.
    #[command(flatten)]
    pub say: SayArgs,
}

/// How to say what is done.
#[derive(Debug, Clone, Copy, Args)]
pub struct SayArgs {
    /// One JSON document a line
    #[arg(long)]
    pub json: bool,
}

fn checksum(text: &str) -> Result<String, String> {
    let plain = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain { Ok(text.to_lowercase()) } else { Err("this is no commit's checksum: 64 hexadecimal digits".to_owned()) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "this is no number of seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
        let options = Options::parse_from(["keeld-node", "--config", "/x"]);
        assert!(options.verb.is_none() && options.config.ends_with("x"));
        let options = Options::parse_from(["keeld-node", "join", "--timeout", "5", "--config", "/y"]);
        assert!(matches!(options.verb, Some(Verb::Join(args)) if args.timeout == Duration::from_secs(5)));
    }
}
