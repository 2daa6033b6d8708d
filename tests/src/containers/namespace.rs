//! Owns the network namespaces of tests: their bridges, ports and packet filters are theirs alone.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use keelson_common::command::CommandExt;

/// An address of every [`Namespace`] that is not a loopback one.
pub const ADDRESS: &str = "192.0.2.1";

/// A network namespace; it is removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace whose loopback is up and also has the address 192.0.2.1.
    pub fn create(name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        let namespace = Self { name: name.to_owned() };
        namespace.ip(&["link", "set", "lo", "up"])?;
        namespace.ip(&["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"])?;
        namespace.command("sysctl").args(["--quiet", "--write", "net.ipv4.ip_forward=1"]).run()?;
        Ok(namespace)
    }

    /// A second namespace, joined to this one by a cable: 198.51.100.1 is this end, 198.51.100.2 the
    /// other, which has its default route here. It stands for a machine in the same network.
    pub fn neighbour(&self) -> Result<Self> {
        let other = Self::create(&format!("{}-n", self.name))?;
        self.ip(&["link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", &other.name])?;
        for (end, address) in [(self, "198.51.100.1/24"), (&other, "198.51.100.2/24")] {
            end.ip(&["address", "add", address, "dev", "cable"])?;
            end.ip(&["link", "set", "cable", "up"])?;
        }
        other.ip(&["route", "add", "default", "via", "198.51.100.1"])?;
        Ok(other)
    }

    /// Its name for `ip netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A program in it, not yet started, in a session of its own. The child's pid is the program's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        // `ip netns exec` would hide the mounts below /sys.
        let mut command = Command::new("setsid");
        command.arg("nsenter").arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// `ip` in it, which must succeed; gives what it printed.
    pub fn ip(&self, words: &[&str]) -> Result<String> {
        Ok(Command::new("ip").args(["-netns", &self.name]).args(words).output_text()?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Gone already when the test removed it.
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

fn ip(words: &[&str]) -> Result<()> {
    Ok(Command::new("ip").args(words).run()?)
}
