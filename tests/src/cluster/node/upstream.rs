//! Owns the command lines and files of upstream's kubelet and kube-proxy, the peers of our agent.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use super::NodeRig;
use crate::cluster::program;
use crate::cluster::servers::{DNS_ADDRESS, PODS};

/// The kubelet. It joins by the bootstrap token; what it is given then is kept for its next start.
pub fn kubelet(rig: &NodeRig) -> Result<Command> {
    let file = |name: &str| rig.folder().join(name);
    fs::create_dir_all(file("static"))?;
    // The addresses of no resolver: pods have the cluster's, and the machine has none to ask.
    fs::write(file("resolv.conf"), "nameserver 192.0.2.53\n")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": { "anonymous": { "enabled": false }, "x509": { "clientCAFile": rig.authority } },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", rig.cgroup()),
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": format!("unix://{}", rig.socket().display()),
        // How full the machine's disk is has nothing to do with the test.
        "evictionHard": { "memory.available": "100Mi" },
        "imageGCHighThresholdPercent": 100,
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "podLogsDir": file("logs"),
        "resolvConf": file("resolv.conf"),
        "rotateCertificates": true,
        "staticPodPath": file("static"),
        "volumePluginDir": file("plugins"),
    });
    fs::write(file("kubelet.json"), config.to_string())?;
    let mut command = rig.namespace().command(program("peer")?);
    command.arg("kubelet").arg("--config").arg(file("kubelet.json"));
    command.arg("--root-dir").arg(rig.root()).arg("--cert-dir").arg(file("pki"));
    command.arg("--bootstrap-kubeconfig").arg(&rig.bootstrap).arg("--kubeconfig").arg(file("kubelet.kubeconfig"));
    command.args(["--hostname-override", rig.name(), "--node-ip", rig.address(), "--v=2"]);
    Ok(command)
}

/// kube-proxy, which leaves alone the settings of the kernel that belong to no namespace.
pub fn proxy(rig: &NodeRig) -> Result<Command> {
    let mut command = rig.namespace().command(program("peer")?);
    command.arg("kube-proxy").arg("--kubeconfig").arg(&rig.proxy);
    command.args(["--hostname-override", rig.name(), "--proxy-mode=nftables", "--cluster-cidr", PODS]);
    command.args([
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]);
    Ok(command)
}
