//! Owns keeld's command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;

/// The Keelson host daemon: upgrades, rolls back and describes this host.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "keeld",
    version,
    long_about = "The Keelson host daemon. It alone changes the deployments of this host, through libostree, \
        and serves org.keelson.Host1 on the system bus. systemd starts it as keeld.service; keelctl(1) is its \
        client, and journalctl -u keeld shows what it did.",
    after_help = "For development, keeld serves any OSTree sysroot on any bus, without being root over the host:\n\n  \
        keeld --sysroot /tmp/sysroot --state /tmp/state --bus unix:path=/tmp/bus\n\n\
        A sysroot that is not booted has its deployments written at once instead of staged."
)]
pub struct Options {
    /// The sysroot to manage; anything but / is one that is not booted
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub sysroot: PathBuf,
    /// The folder of the history
    #[arg(long, value_name = "DIR", env = "STATE_DIRECTORY", default_value = "/var/lib/keelson")]
    pub state: PathBuf,
    /// The address of the bus to serve on, instead of the system bus
    #[arg(long, value_name = "ADDRESS")]
    pub bus: Option<String>,
    /// Another part of the agent to be, instead of the one that manages deployments
    #[command(subcommand)]
    pub part: Option<Part>,
}

/// The parts of the agent that are daemons of their own.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Part {
    /// Serve the containers of this host; see keeld containers --help
    #[command(disable_help_flag = true)]
    Containers {
        /// The words of that daemon's own command line
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Be a node of a Kubernetes cluster; see keeld node --help
    #[command(disable_help_flag = true)]
    Node {
        /// The words of that daemon's own command line
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

impl Options {
    /// Whether the host itself is managed.
    pub fn is_host(&self) -> bool {
        self.sysroot == Path::new("/")
    }
}
