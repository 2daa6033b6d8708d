//! Owns the command line and configuration of our agent, `keeld-node`.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::NodeRig;
use crate::cluster::servers::DNS_ADDRESS;
use crate::cluster::{TOKEN, images};
use crate::paths;

/// Machines that run tests may be short of disk, which is not what they are about.
const PLAIN: &str = "port = 10250\n[eviction]\nnodefs-available = \"1%\"\nimagefs-available = \"1%\"\n";

/// The agent. It joins by the bootstrap token; what it is given then is kept for its next start.
pub fn node(rig: &NodeRig) -> Result<Command> {
    let file = |name: &str| rig.folder().join(name).display().to_string();
    fs::write(file("resolv.conf"), super::RESOLV_CONF)?;
    let lines = [
        ("server", rig.server.clone()),
        ("token", TOKEN.to_owned()),
        ("ca-hash", rig.ca_hash.clone()),
        ("name", rig.name().to_owned()),
        ("address", rig.address().to_owned()),
        ("root", rig.root().display().to_string()),
        ("run", file("run")),
        ("logs", file("logs")),
        ("containerd", rig.socket().display().to_string()),
        ("cni-conf", rig.cni().display().to_string()),
        ("static-pods", file("static")),
        ("resolv-conf", file("resolv.conf")),
        ("cgroup-driver", "cgroupfs".to_owned()),
        ("cgroup-root", rig.cgroup()),
        ("cluster-dns", DNS_ADDRESS.to_owned()),
        ("pause-image", images::PAUSE.to_owned()),
    ];
    let lines = lines.iter().map(|(key, value)| format!("{key} = {value:?}\n"));
    let config = lines.collect::<String>() + PLAIN;
    fs::write(file("node.toml"), config)?;
    let mut command = rig.namespace().command(paths::program("keeld-node")?);
    command.arg("--config").arg(file("node.toml"));
    // As its unit has it.
    command.envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_TRIM_THRESHOLD_", "131072")]);
    Ok(command)
}
