//! Owns the command line and configuration of our agent, `keeld-node`.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::NodeRig;
use crate::cluster::TOKEN;
use crate::cluster::servers::DNS_ADDRESS;
use crate::paths;

/// The agent. It joins by the bootstrap token; what it is given then is kept for its next start.
pub fn node(rig: &NodeRig) -> Result<Command> {
    let file = |name: &str| rig.folder().join(name).display().to_string();
    let lines = [
        ("server", rig.server.clone()),
        ("token", TOKEN.to_owned()),
        ("ca-hash", rig.ca_hash.clone()),
        ("kubeconfig", file("node.kubeconfig")),
        ("name", rig.name().to_owned()),
        ("address", rig.address().to_owned()),
        ("root", rig.root().display().to_string()),
        ("run", file("run")),
        ("containerd", rig.socket().display().to_string()),
        ("cni-conf", rig.cni().display().to_string()),
        ("cgroup-driver", "cgroupfs".to_owned()),
        ("cgroup-root", format!("/{}", rig.cgroup())),
        ("cluster-dns", DNS_ADDRESS.to_owned()),
    ];
    let lines = lines.iter().map(|(key, value)| format!("{key} = {value:?}\n"));
    let config = lines.collect::<String>() + "port = 10250\n";
    fs::write(file("node.toml"), config)?;
    let mut command = rig.namespace().command(paths::program("keeld-node")?);
    command.arg("--config").arg(file("node.toml"));
    Ok(command)
}
