//! That a node stands aside for who does a part of its work: another network of pods, kube-proxy. And that
//! it does that part again once they are gone.

use std::fs;

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;
use keelson_tests::cluster::{ControlPlane, NodeRig};
use serde_json::json;

use super::node_walk::nodes;
use super::place::{Place, all_hold, pod, shell};

#[test]
fn a_node_stands_aside() {
    let cluster = ControlPlane::start().unwrap();
    let rigs = nodes(&cluster, &["one"]).unwrap();
    let checks = [("network", another_network as fn(&Place<'_>) -> _), ("proxy", kube_proxy_as_a_pod)];
    all_hold(&cluster, &rigs, &checks).unwrap();
    cluster.ok(&["delete", "namespaces", "network", "proxy", "--timeout=90s"]).unwrap();
    assert_eq!(rigs[0].left(), Vec::<String>::new());
}

/// The address of a new pod, which runs.
fn address(place: &Place<'_>, name: &str) -> Result<String> {
    place.make(&[pod(name, &shell("sleep 1000"))])?;
    place.ready(name)?;
    ensure!(place.sh(name, "hostname")? == name);
    place.field(&format!("pod/{name}"), ".status.podIP")
}

fn another_network(place: &Place<'_>) -> Result<()> {
    let rig = place.rigs.first().context("no node")?;
    let ours = rig.cni().join("10-keelson.conflist");
    ensure!(ours.exists() && address(place, "before")?.starts_with("10.244."));
    // As a DaemonSet of somebody's network writes it; by name it comes after ours.
    let theirs = rig.cni().join("20-theirs.conflist");
    let ipam = json!({
        "type": "host-local",
        "dataDir": rig.folder().join("run/theirs"),
        "ranges": [[{ "subnet": "10.99.0.0/24" }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
    });
    let plugins = json!([{ "type": "ptp", "ipam": ipam }]);
    fs::write(&theirs, json!({ "cniVersion": "0.4.0", "name": "theirs", "plugins": plugins }).to_string())?;
    place.until("our network's configuration goes", || Ok(!ours.exists()))?;
    place.until("pods are in the other network", || Ok(address_once(place)?.starts_with("10.99.0.")))?;
    place.ready("before")?;
    ensure!(place.field("pod/before", ".status.containerStatuses[0].restartCount")? == "0");
    fs::remove_file(&theirs)?;
    place.until("our network's configuration comes back", || Ok(ours.exists()))?;
    place.until("pods are in our network", || Ok(address_once(place)?.starts_with("10.244.")))
}

/// The address of a pod that is gone again: containerd reads a new configuration a moment later.
fn address_once(place: &Place<'_>) -> Result<String> {
    let found = address(place, "once")?;
    place.ok(&["delete", "pod", "once", "--timeout=60s"])?;
    Ok(found)
}

fn has_services(rig: &NodeRig) -> Result<bool> {
    let tables = rig.namespace().command("nft").args(["list", "tables"]).output_text()?;
    Ok(tables.lines().any(|table| table == "table ip keelson-services"))
}

fn kube_proxy_as_a_pod(place: &Place<'_>) -> Result<()> {
    let rig = place.rigs.first().context("no node")?;
    place.until("the node has the Services", || has_services(rig))?;
    let mut container = shell("sleep 1000");
    container["name"] = json!("kube-proxy");
    let mut proxy = pod("kube-proxy-x7k2p", &container);
    proxy["spec"]["hostNetwork"] = json!(true);
    place.make(&[proxy])?;
    place.until("the node leaves Services to kube-proxy", || Ok(!has_services(rig)?))?;
    place.ok(&["delete", "pod", "kube-proxy-x7k2p", "--timeout=60s"])?;
    place.until("the node has the Services again", || has_services(rig))
}
