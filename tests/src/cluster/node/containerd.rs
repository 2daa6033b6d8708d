//! Owns the containerd of a node: its configuration, its start, and images for it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{NodeRig, START};
use crate::cluster::images;
use crate::containers::{Namespace, Process, TestImage, need};

/// Where Debian has the CNI plugins.
pub const PLUGINS: &str = "/usr/lib/cni";

/// containerd's socket.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("containerd/containerd.sock")
}

/// What its CRI says when it knows again what runs.
const RECOVERED: &str = "Start streaming server";

/// Starts it in the machine's network, with everything of it below `folder`. Before 2.2 it may miss the end of
/// a container until its CRI has recovered, which is waited for.
pub fn start(folder: &Path, namespace: &Namespace) -> Result<Process> {
    let config = folder.join("containerd/config.toml");
    let (at, cni) = (folder.join("containerd"), folder.join("cni"));
    fs::write(&config, configuration(&at, &cni))?;
    let (socket, log) = (socket(folder), folder.join("containerd.log"));
    let recovered = || fs::read_to_string(&log).map_or(0, |text| text.matches(RECOVERED).count());
    let before = recovered();
    let mut command = namespace.command(need("containerd", "containerd")?);
    let mut containerd = Process::start(command.arg("--config").arg(&config), &log)?;
    let ready = || UnixStream::connect(&socket).is_ok() && recovered() > before;
    containerd.wait_ready(START, ready).context("containerd did not start")?;
    Ok(containerd)
}

fn configuration(at: &Path, cni: &Path) -> String {
    let (at, cni, pause) = (at.display(), cni.display(), images::PAUSE);
    // The machine may refuse what containerd would do without `restrict_oom_score_adj`.
    format!(
        r#"version = 2
root = "{at}/root"
state = "{at}/state"
disabled_plugins = [
    "io.containerd.internal.v1.restart", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{at}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{at}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{PLUGINS}"
conf_dir = "{cni}"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{at}/runc"
SystemdCgroup = false
"#
    )
}

impl NodeRig {
    /// Gives the node an image, for pods.
    pub fn load(&self, image: &TestImage) -> Result<()> {
        let archive = self.folder().join("image.tar");
        image.write(&archive)?;
        self.ctr(&["images", "import", &archive.to_string_lossy()])
            .with_context(|| format!("cannot import {}", image.reference))?;
        Ok(fs::remove_file(archive)?)
    }
}
