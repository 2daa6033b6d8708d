//! The master's DNS and its care for its own node, beside a control plane: the Corefile that `keeld-master` writes is
//! what CoreDNS answers by, and refuses by.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use keelson_tests::cluster::{ADDRESS, ControlPlane, Credentials, Identity, program};
use keelson_tests::containers::{Namespace, Process, eventually};
use keelson_tests::keelson::finish;
use keelson_tests::paths;
use serde_json::json;

use super::{kubectl_as, object};

/// It looks three times a minute, and CoreDNS reads its file again ten seconds later.
const SEEN: Duration = Duration::from_secs(60);
/// A master's label and taint.
const LABEL: &str = "node-role.kubernetes.io/control-plane";

/// `keeld-master` of a host whose files are below the cluster's folder, in the control plane's namespace.
fn master(cluster: &ControlPlane, word: &str) -> Result<Command> {
    let file = |name: &str| cluster.folder().join(name);
    let mut command = cluster.command(paths::program("keeld-master")?);
    command.arg(word).arg("--config").arg(file("master.toml"));
    command.arg("--root").arg(file("master")).arg("--run").arg(file("run")).arg("--host").arg(file("host"));
    command.arg("--objects").arg(paths::workspace().join("manifests/kubernetes"));
    // Where kubectl is.
    let kubectl = program("kubectl")?;
    let folder = kubectl.parent().unwrap_or(&kubectl);
    command.env("PATH", format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default()));
    Ok(command)
}

/// A host that is the master: its authority is the cluster's, and addresses here are not private ones.
fn set_up(cluster: &ControlPlane) -> Result<()> {
    for folder in ["run/master", "host/etc/keelson/dns.d"] {
        fs::create_dir_all(cluster.folder().join(folder))?;
    }
    let write = |name: &str, text: &str| fs::write(cluster.folder().join(name), text);
    write("master.toml", &format!("address = \"{ADDRESS}\"\ndns-clients = [\"198.51.100.8/32\"]\n"))?;
    write("host/etc/keelson/dns.d/own.conf", "hosts {\n  192.0.2.77 printer.example\n}\n")?;
    for file in ["ca.crt", "ca.key"] {
        fs::copy(cluster.folder().join("pki").join(file), cluster.folder().join("run/master").join(file))?;
    }
    finish(&mut master(cluster, "setup")?)?.expect(0).map(drop)
}

/// What somebody there is told of a name.
fn ask(from: &Namespace, name: &str) -> Result<String> {
    let run = finish(from.command("busybox").args(["nslookup", name, ADDRESS]))?;
    Ok(run.stdout + &run.stderr)
}

#[test]
fn the_master_answers_its_cluster_and_nobody_else() -> Result<()> {
    let cluster = ControlPlane::start()?;
    let [client, node] = [cluster.machine(8)?, cluster.machine(9)?];
    set_up(&cluster)?;
    let mut run = Process::start(&mut master(&cluster, "run")?, &cluster.folder().join("keeld-master.log"))?;
    run.wait_ready(SEEN, || {
        cluster.ok(&["get", "endpointslices", "--namespace=kube-system", "kube-dns-keelson-master"]).is_ok()
    })?;
    let mut coredns = cluster.command(program("coredns")?);
    coredns.arg("-conf").arg(cluster.folder().join("master/Corefile"));
    let coredns = Process::start(&mut coredns, &cluster.folder().join("coredns.log"))?;
    let mut told = String::new();
    let answered = eventually(SEEN, || {
        told = ask(&client, "kube-dns.kube-system.svc.cluster.local").unwrap_or_else(|error| error.to_string());
        told.contains("10.96.0.10\n")
    });
    ensure!(answered, "{told}\n{}", coredns.log_tail());
    // It may read all that it looks at.
    ensure!(!coredns.log_tail().contains("forbidden"), "{}", coredns.log_tail());
    let told = ask(cluster.namespace(), "kubernetes.default.svc.cluster.local")?;
    ensure!(told.contains("10.96.0.1\n"), "{told}");
    let told = ask(&client, "printer.example")?;
    ensure!(told.contains("192.0.2.77"), "{told}");
    let told = ask(&node, "kubernetes.default.svc.cluster.local")?;
    ensure!(told.contains("REFUSED"), "{told}");
    becomes_a_node(&cluster)?;
    let mut told = String::new();
    let answered = eventually(SEEN, || {
        told = ask(&node, "kubernetes.default.svc.cluster.local").unwrap_or_default();
        told.contains("10.96.0.1\n")
    });
    ensure!(answered, "{told}\n{}\n{}", run.log_tail(), coredns.log_tail());
    let label = format!("--for=jsonpath={{.metadata.labels.{}}}", LABEL.replace('.', "\\."));
    cluster.ok(&["wait", "node/own", &label, "--timeout=60s"])?;
    an_operators_own_stays(&cluster, &run)
}

/// Has the master join its cluster by what it made for that; gives the kubeconfig of the node that it is then.
fn join(cluster: &ControlPlane) -> Result<PathBuf> {
    let file = |name: &str| cluster.folder().join(name);
    let lines = [
        ("server", "https://127.0.0.1:6443".to_owned()),
        ("kubeconfig", file("master/node-bootstrap.kubeconfig").display().to_string()),
        ("name", "own".to_owned()),
        ("addresses", "198.51.100.9".to_owned()),
        // Where the master looks which node it is itself.
        ("root", file("host/var/lib/keelson/node").display().to_string()),
        ("run", file("run/node").display().to_string()),
    ];
    let lines: String = lines.iter().map(|(key, value)| format!("{key} = {value:?}\n")).collect();
    fs::write(file("node.toml"), lines)?;
    let mut command = cluster.command(paths::program("keeld-node")?);
    finish(command.arg("--config").arg(file("node.toml")).args(["join", "--timeout", "60"]))?.expect(0)?;
    // Key and certificate in one.
    let pem = file("host/var/lib/keelson/node/pki/client-current.pem");
    cluster.kubeconfig_for("own", &Credentials::Certificate(Identity { key: pem.clone(), certificate: pem }))
}

/// The machine that was refused is a node now, and the master itself besides: it registers with the taint of one.
fn becomes_a_node(cluster: &ControlPlane) -> Result<()> {
    let taint = json!({ "key": LABEL, "effect": "NoSchedule" });
    let address = json!([{ "type": "InternalIP", "address": "198.51.100.9" }]);
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "own" }, "spec": { "taints": [taint] },
        "status": { "addresses": address },
    });
    let file = object(cluster, "own", &node)?;
    kubectl_as(cluster, &join(cluster)?, &["create", "--filename", &file])?.expect(0)?;
    // What is created with a status may be without it.
    cluster.ok(&["apply", "--server-side", "--subresource=status", "--filename", &file]).map(drop)
}

/// A Service of an operator's, put over ours, is not taken from him, and nothing of ours is mixed with it.
fn an_operators_own_stays(cluster: &ControlPlane, run: &Process) -> Result<()> {
    let selector = r#"{"spec":{"selector":{"k8s-app":"mine"}}}"#;
    cluster.ok(&["patch", "service", "kube-dns", "--namespace=kube-system", "--patch", selector])?;
    let slice = ["get", "endpointslices", "--namespace=kube-system", "kube-dns-keelson-master"];
    ensure!(eventually(SEEN, || cluster.ok(&slice).is_err()), "{}", run.log_tail());
    let path = "--output=jsonpath={.spec.selector.k8s-app}";
    let selector = cluster.ok(&["get", "service", "kube-dns", "--namespace=kube-system", path])?;
    ensure!(selector == "mine", "{selector}");
    Ok(())
}
