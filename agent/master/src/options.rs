//! Owns the command line of `keeld-master`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// What systemd starts on a host that is the master of a Kubernetes cluster
#[derive(Debug, Parser)]
#[command(name = "keeld-master", version)]
pub struct Options {
    /// The master's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/keelson/master.toml", global = true)]
    pub config: PathBuf,
    /// The folder of all that is the master's
    #[arg(long, value_name = "DIR", default_value = "/var/lib/keelson/master", global = true)]
    pub root: PathBuf,
    /// The folder of what user-data brought
    #[arg(long, value_name = "DIR", default_value = "/run/keelson", global = true)]
    pub run: PathBuf,
    /// The parts of the set-up that are files, for `kubectl apply`
    #[arg(long, value_name = "DIR", default_value = "/usr/share/keelson/master", global = true)]
    pub objects: PathBuf,
    /// Where the host's own files are looked for: its resolvers, an operator's lines for DNS, the machine's id
    #[arg(long, value_name = "DIR", default_value = "/", hide = true, global = true)]
    pub host: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub what: What,
}

#[cfg(test)]
impl Options {
    /// Of a host whose files are all below a folder.
    pub fn below(folder: &std::path::Path, what: What) -> Self {
        let path = |name: &str| folder.join(name);
        Self {
            config: path("master.toml"),
            root: path("master"),
            run: path("run"),
            objects: path("objects"),
            host: path("host"),
            what,
        }
    }
}

/// What to do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum What {
    /// Make the keys, certificates and kubeconfigs that are missing or due; done before the servers start
    Setup,
    /// Wait until the API server can be worked with; done before servers start that would give up
    Wait,
    /// Set up what nodes join by, and answer their requests for certificates
    Run,
    /// Print the hash of the cluster's authority, which nodes are given
    CaHash,
}
