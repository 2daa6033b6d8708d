//! `keelson cluster`: a master and two nodes from one image and seeds alone, pods over both nodes behind a
//! Service that has a name and that the master reaches, a roll to a new version under requests, and a roll to
//! one that is unhealthy, which ends at the first node; it goes back by itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use keelson_tests::cluster::{images, program};
use keelson_tests::containers::TestImage;
use keelson_tests::host::{self, Host, UNWELL};
use keelson_tests::http::Server;
use keelson_tests::keelson::{Keelson, Run, finish};
use keelson_tests::steps::Steps;
use serde_json::{Value, json};
use tempfile::TempDir;

const IMAGE: &str = "keelson.test/busybox:1";
const NODES: [&str; 2] = ["node1", "node2"];
/// Pods on both nodes; one may be away.
const REPLICAS: usize = 4;
/// Requests that may fail while a node's pods are moved: those that were under way.
const BUDGET: usize = 2;

/// A cluster of machines; it is gone when dropped.
struct Cluster {
    name: String,
    keelson: Keelson,
    folder: TempDir,
}

#[test]
fn a_cluster_is_rolled_over_and_stops_at_an_unhealthy_version() -> Result<()> {
    let host = host::master_host()?;
    let folder = tempfile::tempdir()?;
    let keelson = host.copy(folder.path())?;
    let cluster = Cluster { name: format!("t{}", std::process::id()), keelson, folder };
    let walked = walk(&cluster, host);
    if walked.is_err() {
        eprintln!("{}", cluster.journals());
    }
    walked
}

fn walk(cluster: &Cluster, host: &Host) -> Result<()> {
    let mut steps = Steps::of("vm_cluster");
    let reference = host.reference();
    cluster.up(&host.disk()?)?;
    steps.passed("up");
    cluster.supply()?;
    cluster.run_web()?;
    steps.passed("pods");
    let address = cluster.kubectl(&["get", "service", "web", "--output=jsonpath={.spec.clusterIP}"])?;
    cluster.resolves("web.default.svc.cluster.local", &address)?;
    // As the API server would reach a webhook.
    let answer = cluster.on("master", &format!("curl -sSf -m 20 http://{address}/hostname"))?;
    ensure!(answer.starts_with("web-"), "{answer}");
    for node in NODES {
        cluster.ask_for_good(node, &address)?;
    }
    let said = cluster.verb(&["upgrade", "--to", reference, "--nodes-only"])?.expect(0)?;
    ensure!(said.stdout.contains("2 of 2 machines were brought to"), "{}", said.stdout);
    steps.passed("upgrade");
    cluster.all_ready()?;
    for node in NODES {
        ensure!(cluster.booted(node)? == host.v2.composed.checksum, "{node} runs another version");
        let failed = cluster.failed(node)?;
        ensure!(failed.len() <= BUDGET, "requests failed on {node}: {failed:?}");
    }
    let bad = host.unhealthy(&cluster.keelson, cluster.folder.path())?;
    let said = cluster.verb(&["upgrade", "--to", reference, "--nodes-only"])?.expect(1)?;
    steps.passed("unhealthy version");
    ensure!(said.stderr.contains("node1") && said.stderr.contains(&bad.version), "{}", said.stderr);
    for node in NODES {
        ensure!(cluster.booted(node)? == host.v2.composed.checksum, "{node} stays with an unhealthy version");
    }
    let status =
        cluster.on("node1", "sudo keelctl updates; sudo keelctl status; sudo journalctl -b -1 -u keelson-health")?;
    ensure!(status.contains(UNWELL) && status.contains(&bad.version), "{status}");
    cluster.all_ready()?;
    let cordoned = cluster.kubectl(&["get", "nodes", "--output=jsonpath={.items[*].spec.unschedulable}"])?;
    ensure!(cordoned.is_empty(), "a node is cordoned still");
    cluster.verb(&["down"])?.expect(0)?;
    ensure!(!cluster.state().exists(), "something is left of the cluster");
    steps.passed("down");
    Ok(())
}

impl Cluster {
    fn verb(&self, words: &[&str]) -> Result<Run> {
        let mut command = self.keelson.command(&["cluster", words[0], "--name", &self.name])?;
        // Nothing of this user's own clusters is seen.
        finish(command.env("XDG_STATE_HOME", self.folder.path().join("state")).args(&words[1..]))
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state/keelson/clusters").join(&self.name)
    }

    fn up(&self, disk: &std::path::Path) -> Result<()> {
        let (repo, cache) = (self.keelson.repo.to_string_lossy(), self.keelson.cache.to_string_lossy());
        let disk = disk.to_string_lossy();
        // Several times what an emulated host takes, and shorter than anybody would have it.
        let more = self.folder.path().join("more.yaml");
        fs::write(&more, "#cloud-config\nkeelson:\n  health: { timeout: 150s }\n")?;
        let more = more.to_string_lossy();
        let words = ["up", "--json", "--nodes", "2", "--repo", &repo, "--cache", &cache, "--user-data", &more];
        let words = [words.as_slice(), &["--timeout", "1500", &disk]].concat();
        let told = self.verb(&words)?.expect(0)?.json()?;
        ensure!(told["machines"].as_array().is_some_and(|machines| machines.len() == 3), "{told}");
        self.kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=60s"])?;
        let nodes = self.kubectl(&["get", "nodes", "--output=jsonpath={.items[*].metadata.name}"])?;
        ensure!(NODES.iter().all(|node| nodes.contains(node)), "{nodes}");
        self.has_the_master()?;
        let again = self.verb(&["up"])?.expect(1)?;
        ensure!(again.stderr.contains("cluster down"), "{}", again.stderr);
        Ok(())
    }

    /// The master is a node beside them, and no place for pods that do not ask for it.
    fn has_the_master(&self) -> Result<()> {
        let name = format!("{}-master", self.name);
        let address = self.kubectl(&["get", "node", &name, "--output=jsonpath={.status.addresses[*].address}"])?;
        ensure!(address.contains("10.77.0.2"), "{address}");
        let taint = self.kubectl(&["get", "node", &name, "--output=jsonpath={.spec.taints[*].key}"])?;
        ensure!(taint.contains("node-role.kubernetes.io/control-plane"), "{taint}");
        // It is put on a moment later.
        let label = "--for=jsonpath={.metadata.labels.node-role\\.kubernetes\\.io/control-plane}";
        self.kubectl(&["wait", "node", &name, label, "--timeout=60s"]).map(drop)
    }

    /// Has a pod look a name up.
    fn resolves(&self, name: &str, address: &str) -> Result<()> {
        let pod =
            self.kubectl(&["get", "pods", "--selector=app=web", "--output=jsonpath={.items[0].metadata.name}"])?;
        let ask = format!("for i in $(seq 20); do nslookup {name} && exit; sleep 1; done; cat /etc/resolv.conf");
        let told = self.kubectl(&["exec", &pod, "--", "sh", "-c", &ask])?;
        ensure!(told.contains(address), "{told}");
        Ok(())
    }

    fn kubectl(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(program("kubectl")?);
        command.arg("--kubeconfig").arg(self.state().join("kubeconfig")).env("HOME", self.folder.path());
        let run = finish(command.args(words)).and_then(|run| run.expect(0));
        let run = run.with_context(|| format!("kubectl {}", words.join(" ")))?;
        Ok(run.stdout.trim_end().to_owned())
    }

    /// Runs a command on a machine.
    fn on(&self, machine: &str, command: &str) -> Result<String> {
        let run = self.verb(&["ssh", machine, "--", command]).and_then(|run| run.expect(0));
        Ok(run.with_context(|| format!("on {machine}: {command}"))?.stdout)
    }

    fn booted(&self, machine: &str) -> Result<String> {
        let status: Value = serde_json::from_str(&self.on(machine, "keelctl status --json")?)?;
        Ok(status["booted"]["checksum"].as_str().unwrap_or_default().to_owned())
    }

    /// Gives the nodes the images that a registry would have.
    fn supply(&self) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let server = Server::start(dir.path())?;
        TestImage::busybox(IMAGE).write(&dir.path().join("busybox.tar"))?;
        images::pause("registry.k8s.io/pause:3.10.2")?.write(&dir.path().join("pause.tar"))?;
        for node in NODES {
            for image in ["busybox", "pause"] {
                let url = format!("http://10.0.2.2:{}/{image}.tar", server.port());
                self.on(node, &format!("curl -sSf {url} | sudo ctr -n k8s.io images import - && sync"))?;
            }
        }
        Ok(())
    }

    fn run_web(&self) -> Result<()> {
        let labels = json!({ "app": "web" });
        let spread = json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": labels },
        }]);
        let web = json!({
            "name": "web", "image": IMAGE, "imagePullPolicy": "Never",
            "readinessProbe": { "httpGet": { "path": "/hostname", "port": 8080 }, "periodSeconds": 1 },
            "command": ["sh", "-c", "trap 'sleep 5; exit' TERM; httpd -p 8080 -h /etc; while :; do sleep 1; done"],
        });
        let pod =
            json!({ "containers": [web], "topologySpreadConstraints": spread, "terminationGracePeriodSeconds": 15 });
        let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "v1", "kind": "ReplicationController", "metadata": { "name": "web" },
              "spec": { "replicas": REPLICAS, "selector": labels, "template": { "metadata": { "labels": labels }, "spec": pod } } },
            { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
              "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] } },
            { "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "web" },
              "spec": { "minAvailable": REPLICAS - 1, "selector": { "matchLabels": labels } } },
        ] });
        let file = self.folder.path().join("web.json");
        fs::write(&file, objects.to_string())?;
        self.kubectl(&["apply", "--filename", &file.to_string_lossy()])?;
        self.all_ready()?;
        let on = self.kubectl(&["get", "pods", "--output=jsonpath={.items[*].spec.nodeName}"])?;
        ensure!(NODES.iter().all(|node| on.contains(node)), "pods are on {on} alone");
        Ok(())
    }

    fn all_ready(&self) -> Result<()> {
        let replicas = format!("--for=jsonpath={{.status.readyReplicas}}={REPLICAS}");
        self.kubectl(&["wait", "replicationcontroller/web", &replicas, "--timeout=300s"]).map(drop)
    }

    /// Has a node ask the Service twice a second until it goes down, and note what failed.
    fn ask_for_good(&self, node: &str, address: &str) -> Result<()> {
        let ask = format!(
            "while sleep 0.5; do if curl -sf -m 5 http://{address}/hostname >>/var/tmp/answers; then :; else date >>/var/tmp/failed; fi; done"
        );
        self.on(node, &format!("sudo systemd-run --quiet --unit=asking sh -c '{ask}'"))?;
        let asked = self.on(
            node,
            "for i in $(seq 60); do test -s /var/tmp/answers && break; sleep 1; done; cat /var/tmp/answers",
        )?;
        ensure!(asked.contains("web-"), "the Service does not answer on {node}: {asked}");
        Ok(())
    }

    fn failed(&self, node: &str) -> Result<Vec<String>> {
        let failed = self.on(node, "cat /var/tmp/failed 2>/dev/null; wc -l </var/tmp/answers >&2; true")?;
        Ok(failed.lines().map(str::to_owned).collect())
    }

    fn journals(&self) -> String {
        let mut text = String::new();
        for machine in ["master", "node1", "node2"] {
            let command = "sudo journalctl -b --no-pager -n 60 -p notice; sudo keelctl updates; sudo keelctl health; keelctl status";
            let said = self.verb(&["ssh", machine, "--", command]).map(|run| run.stdout + &run.stderr);
            text.push_str(&format!("--- {machine}\n{}\n", said.unwrap_or_else(|error| error.to_string())));
        }
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.state().exists() {
            let down = self.verb(&["down"]).and_then(|run| run.expect(0));
            if let Err(error) = down {
                eprintln!("the cluster stays: {error:#}");
            }
        }
    }
}
