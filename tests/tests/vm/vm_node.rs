//! Two virtual machines of the default host join a Kubernetes cluster, one by hand and one by cloud-init, and
//! run workloads of each kind, with systemd, cgroup v2 and crun: spread, scaled, updated, reached by a Service,
//! read and entered through the API server. Then one is drained, upgraded and restarted, while the workload
//! stays at its disruption budget; in the end it leaves.

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
use keelson_tests::paths;
use keelson_tests::steps::Steps;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The image of the pods.
const IMAGE: &str = "keelson.test/busybox:1";
/// How many of them there are, and how many must be ready at any time.
const REPLICAS: usize = 6;
const BUDGET: usize = 5;
/// For kubectl: how long something may take on two emulated machines.
const PATIENCE: &str = "--timeout=180s";

/// The two hosts, by the names of their nodes.
struct Nodes {
    guests: [Guest; 2],
}

/// The interface that the cable of a machine's second card is.
fn tap(number: u8) -> String {
    format!("kt{}-{number}", std::process::id())
}

/// The number of the first machine; the second has the next.
const FIRST: u8 = 11;

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
    let mut steps = Steps::of("vm_node");
    nodes.supply()?;
    nodes.join(cluster)?;
    steps.passed("joined");
    set_up_by_user_data(&mut nodes.guests)?;
    steps.passed("user-data");
    run_web(cluster)?;
    as_systemd_has_it(&mut nodes.guests[0])?;
    service_from_the_other_node(cluster)?;
    logs_and_exec(cluster)?;
    a_port_is_forwarded(cluster)?;
    steps.passed("pods");
    other_workloads(cluster)?;
    steps.passed("other workloads");
    one_loses_power(cluster, nodes)?;
    steps.passed("power cut");
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
    steps.passed("upgrade");
    both_again(cluster)?;
    two_leaves(cluster, &mut nodes.guests[1])?;
    steps.passed("left");
    Ok(())
}

impl Nodes {
    /// Boots both at once, each with its second card in the cluster's network; the second is told by its seed
    /// which cluster is its own.
    fn boot(cluster: &ControlPlane, host: &Host) -> Result<Self> {
        let disk = host.disk()?;
        let node = format!(
            "packages: [vim]\nkeelson:\n  join:\n    server: {}\n    token: {TOKEN}\n    ca-hash: [\"{}\"]\n    \
             labels: {{ keelson.test/host: two }}\n  kernel-arguments: {{ append: [keelson.test=1] }}\n",
            cluster.server(),
            cluster.ca_hash(),
        );
        let start = |name: &str, number: u8, user_data: &str| -> Result<Guest> {
            let place = Place {
                hostname: name.to_owned(),
                user_data: user_data.to_owned(),
                meta_data: String::new(),
                tap: tap(number),
                number,
                address: format!("198.51.100.{number}/24"),
            };
            let guest = Guest::start(&disk, Firmware::Bios, Some(&place))?;
            cluster.plug(&place.tap)?;
            Ok(guest)
        };
        let mut guests = [start(NAMES[0], FIRST, "")?, start(NAMES[1], FIRST + 1, &node)?];
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
            // A pull is on the disk when it is done; an import by hand is not.
            guest.sh("sync")?;
        }
        Ok(())
    }

    /// `keelctl join` on the first, as a person would; each is its own node's name and address by itself.
    fn join(&mut self, cluster: &ControlPlane) -> Result<()> {
        let one = &mut self.guests[0];
        let absent = one.sh("keelctl node status")?;
        ensure!(absent.contains("no node of a cluster"), "{absent}");
        one.sh("test \"$(systemctl show --value --property=ConditionResult keelson-node)\" = no")?;
        let (server, hash) = (cluster.server(), cluster.ca_hash());
        let said = one.sh(&format!(
            "keelctl join --server {server} --token {TOKEN} --ca-hash {hash} --label keelson.test/host=one"
        ))?;
        ensure!(said.contains("the node is ready"), "{said}");
        one.sh("! grep -q token /etc/keelson/node.toml")?;
        cluster.ok(&["wait", "--for=create", "node/two", PATIENCE])?;
        cluster.ok(&["wait", "--for=condition=Ready", "node/one", "node/two", PATIENCE])?;
        for (guest, name) in self.guests.iter_mut().zip(NAMES) {
            guest.sh("systemctl is-enabled -q keelson-node")?;
            let status: Value = serde_json::from_str(&guest.sh("keelctl node status --json")?)?;
            ensure!(status["ready"] == true && status["name"] == name, "{status}");
        }
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

/// What the second was told is done and reported, and nothing of it is there for everybody to read; what is
/// wrong is told where it is told, and changes nothing.
fn set_up_by_user_data([one, two]: &mut [Guest; 2]) -> Result<()> {
    let report: Value = serde_json::from_str(&two.sh("keelctl provision --json")?)?;
    let state = |part: &str| {
        let parts = report["parts"].as_array().into_iter().flatten();
        parts.filter(|one| one["part"] == part).map(|one| one["state"].clone()).next().unwrap_or_default()
    };
    ensure!(state("join") == "applied" && state("kernel-arguments") == "applied", "{report}");
    ensure!(state("packages") == "refused", "{report}");
    let again = two.sh("systemctl restart keelson-provision && keelctl provision")?;
    ensure!(again.contains("join: unchanged") && again.contains("kernel-arguments: unchanged"), "{again}");
    two.sh("! find /run/cloud-init /run/keelson /var/lib/cloud /etc/keelson -xdev -type f -perm /044 -exec grep -l 0123456789abcdef {} + | grep .")?;
    two.sh("cloud-init schema --system && cloud-init status --wait")?;
    for example in fs::read_dir(paths::workspace().join("manifests/examples"))? {
        let text = fs::read_to_string(example?.path())?;
        let check = "cloud-init schema --config-file /var/tmp/example.yaml";
        two.sh(&format!("cat >/var/tmp/example.yaml <<'END'\n{text}\nEND\n{check}"))?;
    }
    let wrong = "printf '[joint]\\nserver = 1\\n' >/etc/keelson/host.toml";
    one.sh(wrong)?;
    one.sh("! systemctl restart keelson-provision")?;
    let told = one.sh("keelctl provision; journalctl --boot --unit=keelson-provision --no-pager --output=cat")?;
    ensure!(told.matches("host.toml:1:2: unknown key `joint`; did you mean `join`?").count() >= 2, "{told}");
    one.sh("rm /etc/keelson/host.toml && systemctl restart keelson-provision && test -e /etc/keelson/node.toml")?;
    one.healthy()
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
          "spec": { "replicas": REPLICAS - 2, "selector": labels, "template": { "metadata": { "labels": labels }, "spec": pod } } },
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
    cluster.ok(&["wait", "--for=condition=Ready", "pod/client", PATIENCE])?;
    cluster.ok(&["scale", "replicationcontroller/web", &format!("--replicas={REPLICAS}")])?;
    all_ready(cluster)?;
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
    let ends = "systemctl show --property=TimeoutStopUSec 'cri-containerd-*.scope' | sort -u";
    ensure!(guest.sh(ends)?.trim() == "TimeoutStopUSec=10s", "pods keep the host from going down");
    guest.sh(&format!("cat {slice}/cri-containerd-*.scope/container/cgroup.procs | grep -q ."))?;
    guest.sh("ls /run/containerd/runc/k8s.io /run/crun | grep -q .")?;
    let warnings = guest.sh("journalctl --boot --unit=keelson-node --priority=err --quiet --no-pager")?;
    ensure!(warnings.is_empty(), "the node's journal has errors: {warnings}");
    guest.healthy()
}

/// The Service answers by its cluster IP, for pods on both nodes, asked from a pod on one. A node hears of pods a
/// moment after the cluster does.
fn service_from_the_other_node(cluster: &ControlPlane) -> Result<()> {
    let mut last = Ok(());
    eventually(Duration::from_secs(60), || {
        last = service_answers(cluster);
        last.is_ok()
    });
    last
}

fn service_answers(cluster: &ControlPlane) -> Result<()> {
    let address = cluster.ok(&["get", "service", "web", "--output=jsonpath={.spec.clusterIP}"])?;
    let ask = format!("for i in $(seq 20); do timeout 20 wget -qO- http://{address}/hostname || echo none; done");
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

fn a_port_is_forwarded(cluster: &ControlPlane) -> Result<()> {
    let pod = pods_on(cluster, "two")?.into_iter().next().context("no pod")?;
    let forward = cluster.forward(&[&format!("pod/{pod}"), ":8080"])?;
    let answer = cluster.fetch_twice(&format!("{}/hostname", forward.url()))?;
    ensure!(answer == format!("{pod}\n{pod}\n"), "{answer:?}");
    Ok(())
}

/// A DaemonSet on both, a Job where a label says, a Deployment that is updated; all are gone again.
fn other_workloads(cluster: &ControlPlane) -> Result<()> {
    let container =
        |command: &[&str]| json!({ "name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": command });
    let spec = |command: &[&str]| json!({ "containers": [container(command)], "terminationGracePeriodSeconds": 1 });
    let set = |kind: &str, name: &str| {
        let labels = json!({ "app": name });
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name },
            "spec": {
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": spec(&["sleep", "100000"]) },
            },
        })
    };
    let mut job = spec(&["echo", "done"]);
    job["restartPolicy"] = json!("Never");
    job["nodeSelector"] = json!({ "keelson.test/host": "two" });
    let job = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "once" },
        "spec": { "template": { "spec": job } } });
    let items = json!([set("DaemonSet", "everywhere"), set("Deployment", "updated"), job]);
    let file = cluster.folder().join("workloads.json");
    fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
    let file = file.to_string_lossy();
    cluster.ok(&["apply", "--filename", &file])?;
    cluster.ok(&["rollout", "status", "daemonset/everywhere", PATIENCE])?;
    let nodes = "--output=jsonpath={.items[*].spec.nodeName}";
    let on = cluster.ok(&["get", "pods", "--selector=app=everywhere", nodes])?;
    ensure!(NAMES.iter().all(|name| on.split(' ').any(|node| node == *name)), "the DaemonSet is on {on}");
    cluster.ok(&["wait", "--for=condition=Complete", "job/once", PATIENCE])?;
    ensure!(cluster.ok(&["get", "pods", "--selector=job-name=once", nodes])? == "two", "a label did not select");
    ensure!(cluster.ok(&["logs", "job/once"])? == "done");
    cluster.ok(&["rollout", "status", "deployment/updated", PATIENCE])?;
    cluster.ok(&["set", "env", "deployment/updated", "VERSION=2"])?;
    cluster.ok(&["rollout", "status", "deployment/updated", PATIENCE])?;
    ensure!(cluster.ok(&["exec", "deployment/updated", "--", "sh", "-c", "echo $VERSION"])? == "2");
    cluster.ok(&["delete", "--cascade=foreground", "--filename", &file, PATIENCE]).map(drop)
}

/// The first host's power is cut while pods run on it: it comes back as the node it was, with all of its
/// pods, each started once more.
fn one_loses_power(cluster: &ControlPlane, nodes: &mut Nodes) -> Result<()> {
    let one = &mut nodes.guests[0];
    let before = pods_on(cluster, "one")?;
    one.vm.kill_power()?;
    one.vm.power_on()?;
    cluster.plug(&tap(FIRST))?;
    one.vm.wait_ready(BOOT)?;
    one.healthy()?;
    let again = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1";
    for pod in before.iter().map(String::as_str).chain(["client"]) {
        cluster.ok(&["wait", &format!("pod/{pod}"), again, PATIENCE])?;
        cluster.ok(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), PATIENCE])?;
    }
    ensure!(pods_on(cluster, "one")? == before, "other pods than before the power cut");
    all_ready(cluster)?;
    service_from_the_other_node(cluster)
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
    // What was asked for at the first boot, and nothing anew.
    guest.sh("grep -q keelson.test=1 /proc/cmdline && keelctl provision | grep -q 'join: unchanged'")?;
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

/// The second host is no node any more: its pods went to the other, and nothing of them is left.
fn two_leaves(cluster: &ControlPlane, guest: &mut Guest) -> Result<()> {
    let said = guest.sh("keelctl leave --yes")?;
    ensure!(said.contains("kubectl delete node two"), "{said}");
    cluster.ok(&["delete", "node", "two", PATIENCE])?;
    guest.sh("test ! -e /etc/keelson/node.toml && ! systemctl is-active -q keelson-node")?;
    let left = guest
        .sh("ctr -n k8s.io containers list -q; ls -d /sys/fs/cgroup/kubepods.slice /var/log/pods/*_* 2>/dev/null; \
         nft list tables | grep -E 'keelson-(pods|services)' ; ip route | grep '^10\\.244' ; grep kubernetes.io /proc/mounts; true")?;
    ensure!(left.is_empty(), "left on a host that is no node any more: {left}");
    guest.healthy()?;
    all_ready(cluster)?;
    ensure!(pods_on(cluster, "one")?.len() == REPLICAS, "the pods are not all on the other node");
    Ok(())
}
