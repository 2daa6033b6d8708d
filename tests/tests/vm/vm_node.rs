//! Two virtual machines of the default host join a Kubernetes cluster and run pods, with systemd, cgroup
//! v2 and crun: spread, reached by a Service, read and entered through the API server. Then one is drained,
//! upgraded and restarted, while the workload stays at its disruption budget.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keelson_qemu::machine::Firmware;
use keelson_tests::cluster::{ControlPlane, TOKEN, images};
use keelson_tests::containers::{TestImage, eventually};
use keelson_tests::guest::{BOOT, Guest, Place};
use keelson_tests::host::{self, Host};
use keelson_tests::http::Server;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The image of the pods.
const IMAGE: &str = "keelson.test/busybox:1";
/// How many of them there are, and how many must be ready at any time.
const REPLICAS: usize = 4;
const BUDGET: usize = 3;
/// For kubectl: how long something may take on two emulated machines.
const PATIENCE: &str = "--timeout=180s";

/// The two hosts, by the names of their nodes.
struct Nodes {
    guests: [Guest; 2],
}

const NAMES: [&str; 2] = ["one", "two"];

#[test]
fn two_hosts_run_pods_and_one_is_upgraded() -> Result<()> {
    let host = host::default_host()?;
    let cluster = ControlPlane::start()?;
    let mut nodes = Nodes::boot(&cluster, host)?;
    let done = walk(&cluster, &mut nodes, host);
    done.map_err(|error| error.context(nodes.journals()))
}

fn walk(cluster: &ControlPlane, nodes: &mut Nodes, host: &Host) -> Result<()> {
    nodes.supply()?;
    nodes.join(cluster)?;
    run_web(cluster)?;
    as_systemd_has_it(&mut nodes.guests[0])?;
    service_from_the_other_node(cluster)?;
    logs_and_exec(cluster)?;
    let watch = Watch::default();
    thread::scope(|scope| {
        let fewest = scope.spawn(|| watch.fewest_ready(cluster));
        let done = upgrade_two(cluster, &mut nodes.guests[1], host);
        watch.end.store(true, Ordering::Relaxed);
        let fewest = fewest.join().ok().context("the watch over pods failed")?;
        done?;
        ensure!(fewest >= BUDGET, "only {fewest} pods were ready, the budget is {BUDGET}");
        Ok(())
    })?;
    both_again(cluster)
}

impl Nodes {
    /// Boots both at once, each with its second card in the cluster's network.
    fn boot(cluster: &ControlPlane, host: &Host) -> Result<Self> {
        let disk = host.disk()?;
        let start = |name: &str, number: u8| -> Result<Guest> {
            let place = Place {
                hostname: name.to_owned(),
                tap: format!("kt{}-{number}", std::process::id()),
                number,
                address: format!("198.51.100.{number}/24"),
            };
            let guest = Guest::start(&disk, Firmware::Bios, Some(&place))?;
            cluster.plug(&place.tap)?;
            Ok(guest)
        };
        let mut guests = [start(NAMES[0], 11)?, start(NAMES[1], 12)?];
        for guest in &mut guests {
            guest.vm.wait_ready(BOOT)?;
            guest.healthy()?;
        }
        Ok(Self { guests })
    }

    /// Gives both the images that a registry would have.
    fn supply(&mut self) -> Result<()> {
        let dir: TempDir = tempfile::tempdir()?;
        let server = Server::start(dir.path())?;
        let url = format!("http://10.0.2.2:{}", server.port());
        TestImage::busybox(IMAGE).write(&dir.path().join("busybox.tar"))?;
        for guest in &mut self.guests {
            guest.sh("systemctl start network-online.target")?;
            let dump = guest.sh("containerd config dump | grep sandbox_image")?;
            let pause = dump.split('"').nth(1).or_else(|| dump.split('\'').nth(1)).context("no pause image")?;
            images::pause(pause)?.write(&dir.path().join("pause.tar"))?;
            for image in ["busybox", "pause"] {
                guest.sh(&format!(
                    "cd /var/tmp && curl -sSfO {url}/{image}.tar && ctr -n k8s.io images import {image}.tar && rm {image}.tar"
                ))?;
            }
        }
        Ok(())
    }

    /// `keelctl join`, as a person would; each is its own node's name and address by itself.
    fn join(&mut self, cluster: &ControlPlane) -> Result<()> {
        for (guest, name) in self.guests.iter_mut().zip(NAMES) {
            let absent = guest.sh("keelctl node status")?;
            ensure!(absent.contains("no node of a cluster"), "{absent}");
            guest.sh("test \"$(systemctl show --value --property=ConditionResult keelson-node)\" = no")?;
            let (server, hash) = (cluster.server(), cluster.ca_hash());
            let said = guest.sh(&format!(
                "keelctl join --server {server} --token {TOKEN} --ca-hash {hash} --label keelson.test/host={name}"
            ))?;
            ensure!(said.contains("the node is ready"), "{said}");
            guest.sh("! grep -q token /etc/keelson/node.toml && systemctl is-enabled -q keelson-node")?;
            let status: Value = serde_json::from_str(&guest.sh("keelctl node status --json")?)?;
            ensure!(status["ready"] == true && status["name"] == name, "{status}");
        }
        cluster.ok(&["wait", "--for=condition=Ready", "node/one", "node/two", PATIENCE])?;
        let labelled = cluster.ok(&["get", "nodes", "--selector=keelson.test/host=two", "--output=name"])?;
        ensure!(labelled == "node/two", "{labelled}");
        let runtime = "--output=jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}";
        let runtime = cluster.ok(&["get", "nodes", runtime])?;
        ensure!(runtime.starts_with("containerd://"), "{runtime}");
        Ok(())
    }

    /// What the nodes' daemons say, for a failure.
    fn journals(&mut self) -> String {
        let command = "journalctl --boot --no-pager --lines=40 --unit=keelson-node --unit=containerd";
        let journal = |guest: &mut Guest| guest.vm.exec(command, keelson_tests::guest::COMMAND);
        let journals = self.guests.iter_mut().zip(NAMES).map(|(guest, name)| match journal(guest) {
            Ok(output) => format!("--- {name}\n{}\n", output.text()),
            Err(error) => format!("--- {name} does not answer: {error}\n"),
        });
        journals.collect()
    }
}

/// A ReplicationController over both nodes, a Service for it, a disruption budget, and a pod that asks.
fn run_web(cluster: &ControlPlane) -> Result<()> {
    let labels = json!({ "app": "web" });
    let ready = json!({ "httpGet": { "path": "/hostname", "port": 8080 }, "periodSeconds": 1 });
    let spread = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": { "matchLabels": labels },
    }]);
    let web = json!({
        "name": "web", "image": IMAGE, "imagePullPolicy": "Never", "readinessProbe": ready,
        "command": ["sh", "-c", "echo serving; exec httpd -f -p 8080 -h /etc"],
        "resources": { "requests": { "cpu": "10m", "memory": "8Mi" }, "limits": { "memory": "64Mi" } },
    });
    let pod = json!({ "containers": [web], "topologySpreadConstraints": spread, "terminationGracePeriodSeconds": 1 });
    let client =
        json!({ "name": "client", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "100000"] });
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ReplicationController", "metadata": { "name": "web" },
          "spec": { "replicas": REPLICAS, "selector": labels, "template": { "metadata": { "labels": labels }, "spec": pod } } },
        { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
          "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] } },
        { "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web" },
          "spec": { "minAvailable": BUDGET, "selector": { "matchLabels": labels } } },
        { "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "client" },
          "spec": { "nodeName": "one", "containers": [client], "terminationGracePeriodSeconds": 1 } },
    ] });
    let file = cluster.folder().join("web.json");
    fs::write(&file, objects.to_string())?;
    cluster.ok(&["apply", "--filename", &file.to_string_lossy()])?;
    all_ready(cluster)?;
    cluster.ok(&["wait", "--for=condition=Ready", "pod/client", PATIENCE])?;
    for name in NAMES {
        ensure!(!pods_on(cluster, name)?.is_empty(), "no pod runs on {name}");
    }
    Ok(())
}

fn all_ready(cluster: &ControlPlane) -> Result<()> {
    let replicas = format!("--for=jsonpath={{.status.readyReplicas}}={REPLICAS}");
    cluster.ok(&["wait", "replicationcontroller/web", &replicas, PATIENCE]).map(drop)
}

/// The names of the workload's pods on a node.
fn pods_on(cluster: &ControlPlane, node: &str) -> Result<Vec<String>> {
    let on = format!("--field-selector=spec.nodeName={node}");
    let names =
        cluster.ok(&["get", "pods", "--selector=app=web", &on, "--output=jsonpath={.items[*].metadata.name}"])?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// Pods are in slices with their limits, and the host is as well as before.
fn as_systemd_has_it(guest: &mut Guest) -> Result<()> {
    let slice = "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod*.slice";
    let limits = guest.sh(&format!("cat {slice}/memory.max | sort -u"))?;
    ensure!(limits == "67108864", "the pods' memory limits: {limits}");
    guest.sh(&format!("cat {slice}/cri-containerd-*.scope/container/cgroup.procs | grep -q ."))?;
    guest.sh("ls /run/containerd/runc/k8s.io /run/crun | grep -q .")?;
    let warnings = guest.sh("journalctl --boot --unit=keelson-node --priority=err --quiet --no-pager")?;
    ensure!(warnings.is_empty(), "the node's journal has errors: {warnings}");
    guest.healthy()
}

/// The Service answers by its cluster IP, for pods on both nodes, asked from a pod on one.
fn service_from_the_other_node(cluster: &ControlPlane) -> Result<()> {
    let address = cluster.ok(&["get", "service", "web", "--output=jsonpath={.spec.clusterIP}"])?;
    let ask = format!("for i in $(seq 20); do wget -qO- http://{address}/hostname || echo none; done");
    let answers = cluster.ok(&["exec", "client", "--", "sh", "-c", &ask])?;
    let answered = |name: &String| answers.lines().any(|line| line == name);
    ensure!(!answers.contains("none"), "not every request was answered: {answers}");
    for node in NAMES {
        let pods = pods_on(cluster, node)?;
        ensure!(pods.iter().any(answered), "no pod of {node}, {pods:?}, is in\n{answers}");
    }
    Ok(())
}

/// Through the API server, on both nodes.
fn logs_and_exec(cluster: &ControlPlane) -> Result<()> {
    for node in NAMES {
        let pod = pods_on(cluster, node)?.into_iter().next().context("no pod")?;
        ensure!(cluster.ok(&["logs", &pod])? == "serving", "other logs of {pod}");
        ensure!(cluster.ok(&["exec", &pod, "--", "hostname"])? == pod, "another hostname in {pod}");
        let exit = cluster.kubectl(&["exec", &pod, "--", "sh", "-c", "exit 7"])?;
        ensure!(exit.code == Some(7), "exec ended with {:?}: {}", exit.code, exit.stderr);
    }
    Ok(())
}

/// Drains the second node, has its host upgrade and restart, and lets pods come back.
fn upgrade_two(cluster: &ControlPlane, guest: &mut Guest, host: &Host) -> Result<()> {
    cluster.ok(&["drain", "two", "--ignore-daemonsets", PATIENCE])?;
    ensure!(pods_on(cluster, "two")?.is_empty(), "pods are left on a drained node");
    let status: Value = serde_json::from_str(&guest.sh("keelctl node status --json")?)?;
    ensure!(status["cordoned"] == true, "{status}");
    let serve = host.v2.keelson.serve()?;
    guest.update_from(serve.port()?)?;
    guest.sh("keelctl upgrade --yes")?;
    guest.reboot()?;
    ensure!(guest.commits()?[0].as_ref() == Some(&host.v2.composed.checksum), "{}", guest.status()?);
    let boot = guest.sh("cat /proc/sys/kernel/random/boot_id")?;
    let known = format!("--for=jsonpath={{.status.nodeInfo.bootID}}={boot}");
    cluster.ok(&["wait", "node/two", &known, PATIENCE])?;
    cluster.ok(&["wait", "node/two", "--for=condition=Ready", PATIENCE])?;
    cluster.ok(&["uncordon", "two"])?;
    Ok(())
}

/// Counts ready pods until it is told to end.
#[derive(Default)]
struct Watch {
    end: AtomicBool,
}

impl Watch {
    fn fewest_ready(&self, cluster: &ControlPlane) -> usize {
        let ready = "--output=jsonpath={.status.readyReplicas}";
        let mut fewest = REPLICAS;
        while !self.end.load(Ordering::Relaxed) {
            // What cannot be asked is not counted; nothing at all is none.
            if let Ok(count) = cluster.ok(&["get", "replicationcontroller", "web", ready]) {
                fewest = fewest.min(count.parse().unwrap_or(0));
            }
            thread::sleep(Duration::from_millis(500));
        }
        fewest
    }
}

/// New pods come to the node that was away, and are reached there.
fn both_again(cluster: &ControlPlane) -> Result<()> {
    let [one] = [pods_on(cluster, "one")?];
    ensure!(one.len() == REPLICAS, "while the other was away, {one:?} ran");
    cluster.ok(&["delete", "pod", &one[0], &one[1], "--wait=true", PATIENCE])?;
    all_ready(cluster)?;
    let spread = eventually(Duration::from_secs(60), || pods_on(cluster, "two").is_ok_and(|pods| !pods.is_empty()));
    ensure!(spread, "no pod came back to the node that was upgraded");
    service_from_the_other_node(cluster)?;
    logs_and_exec(cluster)
}
