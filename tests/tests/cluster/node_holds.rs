//! That a node holds up: its agent killed, containerd restarted under it, the API server away, its power
//! cut; what runs goes on, what dies is started again, and the cluster learns of it all.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keelson_tests::cluster::{ControlPlane, NodeRig};
use rustix::process::Signal;

use super::node_walk::nodes;
use super::place::{Place, SOON, pod, shell, web};
use keelson_tests::containers::eventually;

/// For how long the API server does not answer.
const AWAY: Duration = Duration::from_secs(30);

#[test]
fn a_node_holds_up() {
    let cluster = ControlPlane::start().unwrap();
    let mut rigs = nodes(&cluster, &["one"]).unwrap();
    let rig = &mut rigs[0];
    let place = Place::new(&cluster, &[], "holds").unwrap();
    let pods = ["steady", "first", "second", "third", "leaving"].map(|name| pod(name, &shell("sleep 1000")));
    place.make(&[pods.as_slice(), &[pod("web", &web())]].concat()).unwrap();
    place.ok(&["wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s"]).unwrap();
    let before = lives(&place).unwrap();
    let same = |but: &str| {
        let now = lives(&place).unwrap();
        for name in ["steady", "web"] {
            assert_eq!(now[name], before[name], "after {but}");
        }
    };
    agent_killed(&place, rig).unwrap();
    same("the agent was killed");
    containerd_restarted(&place, rig).unwrap();
    same("containerd was restarted");
    server_away(&place, rig).unwrap();
    same("the API server was away");
    assert_eq!(containers(rig, "steady").unwrap().len(), 1, "a second container");
    power_cut(&place, rig, &before).unwrap();
    place.ok(&["delete", "pods", "--all", "--timeout=60s"]).unwrap();
    assert_eq!(rig.left(), Vec::<String>::new());
}

/// The life of each pod: its container, how often it was restarted, since when it is ready, its address.
fn lives(place: &Place<'_>) -> Result<BTreeMap<String, String>> {
    let ready = "{.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}";
    let container = "{.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}";
    let life = format!("{{.metadata.name}}={container} {ready} {{.status.podIP}}");
    let output = format!("--output=jsonpath={{range .items[*]}}{life}{{\"\\n\"}}{{end}}");
    let listed = place.ok(&["get", "pods", &output])?;
    Ok(listed.lines().filter_map(|line| line.split_once('=')).map(|(name, life)| (name.into(), life.into())).collect())
}

/// The containers of a pod, without its sandbox, as containerd knows them.
fn containers(rig: &NodeRig, pod: &str) -> Result<Vec<String>> {
    let filter = format!("labels.\"io.kubernetes.pod.name\"=={pod},labels.\"io.cri-containerd.kind\"==container");
    Ok(rig.ctr(&["containers", "list", "--quiet", &filter])?.lines().map(str::to_owned).collect())
}

/// Kills what runs in a pod's only container; gives that container.
fn crash(rig: &NodeRig, pod: &str) -> Result<String> {
    let all = containers(rig, pod)?;
    ensure!(all.len() == 1, "{pod} has {all:?}");
    rig.ctr(&["tasks", "kill", "--signal", "SIGKILL", &all[0]])?;
    Ok(all[0].clone())
}

fn restarted_once(place: &Place<'_>, pod: &str) -> Result<()> {
    place.wait(&format!("pod/{pod}"), ".status.containerStatuses[0].restartCount", "1")?;
    place.wait(&format!("pod/{pod}"), ".status.containerStatuses[0].lastState.terminated.exitCode", "137")?;
    place.ready(pod)
}

fn agent_killed(place: &Place<'_>, rig: &mut NodeRig) -> Result<()> {
    rig.kill("keeld-node")?;
    // What happens meanwhile is seen later.
    crash(rig, "first")?;
    place.ok(&["delete", "pod", "leaving", "--wait=false"])?;
    place.make(&[pod("arriving", &shell("sleep 1000"))])?;
    thread::sleep(Duration::from_secs(2));
    ensure!(place.field("pod/first", ".status.containerStatuses[0].restartCount")? == "0");
    rig.restart("keeld-node")?;
    restarted_once(place, "first")?;
    place.ready("arriving")?;
    place.ok(&["wait", "pod/leaving", "--for=delete", "--timeout=60s"]).map(drop)
}

fn containerd_restarted(place: &Place<'_>, rig: &mut NodeRig) -> Result<()> {
    rig.restart_containerd()?;
    let start = Instant::now();
    crash(rig, "second")?;
    restarted_once(place, "second")?;
    ensure!(start.elapsed() < Duration::from_secs(15), "seen only after {:?}", start.elapsed());
    place.make(&[pod("later", &shell("sleep 1000"))])?;
    place.ready("later")?;
    ensure!(place.sh("steady", "echo $HOSTNAME")? == "steady");
    Ok(())
}

fn server_away(place: &Place<'_>, rig: &NodeRig) -> Result<()> {
    let server = place.cluster.servers().iter().find(|(name, _)| *name == "kube-apiserver");
    let (_, server) = server.context("no API server")?;
    server.signal(Signal::STOP)?;
    let start = Instant::now();
    let old = crash(rig, "third")?;
    let mut running = Vec::new();
    let restarted = eventually(SOON, || {
        running = containers(rig, "third").unwrap_or_default();
        let tasks = rig.ctr(&["tasks", "list"]).unwrap_or_default();
        let runs = |id: &str| tasks.lines().any(|line| line.starts_with(id) && line.ends_with("RUNNING"));
        running.iter().any(|id| *id != old && runs(id))
    });
    let after = start.elapsed();
    thread::sleep(AWAY.saturating_sub(after));
    server.signal(Signal::CONT)?;
    ensure!(restarted && after < Duration::from_secs(10), "restarted: {restarted}, after {after:?}: {running:?}");
    restarted_once(place, "third")?;
    place.ok(&["wait", "node/one", "--for=condition=Ready", "--timeout=60s"])?;
    place.make(&[pod("last", &shell("sleep 1000"))])?;
    place.ready("last")
}

/// The pods come back, in containers of their own and with other addresses, and the cluster is told that they
/// were not there.
fn power_cut(place: &Place<'_>, rig: &mut NodeRig, before: &BTreeMap<String, String>) -> Result<()> {
    rig.cut_power()?;
    rig.power_on()?;
    for name in ["steady", "web"] {
        place.wait(&format!("pod/{name}"), ".status.containerStatuses[0].restartCount", "1")?;
        place.ready(name)?;
        ensure!(lives(place)?[name] != before[name], "{name} is what it was");
    }
    ensure!(place.sh("steady", "hostname")? == "steady");
    place.ok(&["wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s"]).map(drop)
}
