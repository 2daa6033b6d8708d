//! How `keeld-node` joins a real control plane, renews what it got, and what it says of each thing that
//! can be wrong. No containerd is needed: no pod is run here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use keelson_tests::cluster::{ControlPlane, Credentials, Identity, TOKEN};
use keelson_tests::containers::{Namespace, Process, eventually};
use keelson_tests::keelson::{Run, finish};
use keelson_tests::paths;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use super::kubectl_as;

/// A machine with a configuration of a node, not started.
struct Machine<'a> {
    cluster: &'a ControlPlane,
    namespace: Namespace,
    folder: PathBuf,
    name: &'static str,
}

impl<'a> Machine<'a> {
    fn new(cluster: &'a ControlPlane, number: u8, name: &'static str) -> Result<Self> {
        let folder = cluster.folder().join(name);
        fs::create_dir(&folder)?;
        let machine = Self { cluster, namespace: cluster.machine(number)?, folder, name };
        machine.configure(&json!({}))?;
        Ok(machine)
    }

    /// Writes the configuration: what is right but for what `other` says; null leaves a key out.
    fn configure(&self, other: &Value) -> Result<()> {
        let path = |name: &str| self.folder.join(name).to_string_lossy().into_owned();
        // Taken down with the control plane.
        let cgroup = self.cluster.folder().file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
        let mut keys = json!({
            "server": self.cluster.server(),
            "token": TOKEN,
            "ca-hash": self.cluster.ca_hash(),
            "name": self.name,
            "root": path("root"),
            "run": path("run"),
            "logs": path("logs"),
            "containerd": path("containerd.sock"),
            "cni-conf": path("cni"),
            "static-pods": path("static"),
            "cgroup-driver": "cgroupfs",
            "cgroup-root": cgroup,
        });
        for (key, value) in other.as_object().into_iter().flatten() {
            keys[key] = value.clone();
        }
        let keys = keys.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let text: String = keys.map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::write(self.folder.join("node.toml"), text).context("cannot write node.toml")
    }

    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.namespace.command(paths::program("keeld-node")?);
        command.arg("--config").arg(self.folder.join("node.toml")).args(words).stdin(Stdio::null());
        Ok(command)
    }

    fn run(&self, words: &[&str]) -> Result<Run> {
        finish(&mut self.command(words)?)
    }

    /// The error that `words` end with: what it is about, and the message.
    fn error(&self, words: &[&str]) -> Result<(String, String)> {
        let run = self.run(&[words, &["--json"]].concat())?.expect(1)?;
        let last: Value = serde_json::from_str(run.stdout.lines().last().unwrap_or_default())?;
        let text = |key: &str| last["error"][key].as_str().unwrap_or_default().to_owned();
        Ok((text("kind"), text("message")))
    }

    fn pki(&self, name: &str) -> PathBuf {
        self.folder.join("root/pki").join(name)
    }

    /// A kubeconfig with the certificate that it got.
    fn kubeconfig(&self) -> Result<PathBuf> {
        let both = self.pki("client-current.pem");
        let identity = Identity { key: both.clone(), certificate: both };
        self.cluster.kubeconfig_for(self.name, &Credentials::Certificate(identity))
    }

    fn whoami(&self) -> Result<String> {
        let run = kubectl_as(self.cluster, &self.kubeconfig()?, &["auth", "whoami", "--output=json"])?;
        Ok(run.expect(0)?.json()?["status"]["userInfo"]["username"].as_str().unwrap_or_default().to_owned())
    }
}

#[test]
fn a_token_becomes_a_nodes_certificate_that_a_restart_keeps() {
    let cluster = ControlPlane::start().unwrap();
    let one = Machine::new(&cluster, 2, "one").unwrap();
    one.run(&["join", "--check"]).unwrap().expect(0).unwrap();
    assert_eq!(cluster.ok(&["get", "csr", "--output=name"]).unwrap(), "");
    let joined = one.run(&["join"]).unwrap().expect(0).unwrap();
    assert!(joined.stdout.contains(&cluster.ca_hash()), "{joined:?}");
    assert_eq!(one.whoami().unwrap(), "system:node:one");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&one.pki("")), mode(&one.pki("client-current.pem"))), (0o700, 0o600));
    // Again, without a token and without a network: the certificate is still there.
    one.configure(&json!({ "token": null })).unwrap();
    one.namespace.ip(&["link", "set", "eth0", "down"]).unwrap();
    let again = one.run(&["join"]).unwrap().expect(0).unwrap();
    assert!(again.stdout.contains("has a certificate"), "{again:?}");
    assert_eq!(cluster.ok(&["get", "csr", "--output=name"]).unwrap().lines().count(), 1);
}

#[test]
fn what_is_wrong_is_said() {
    let cluster = ControlPlane::start().unwrap();
    let one = Machine::new(&cluster, 2, "one").unwrap();
    let server = |port: u16| cluster.server().replace("6443", &port.to_string());
    let (id, _) = TOKEN.split_once('.').unwrap();
    let other = format!("sha256:{}", "00".repeat(32));
    for (keys, kind, words) in [
        (json!({ "token": format!("{id}.fedcba9876543210") }), "token", vec!["secret of token \"keel01\" is wrong"]),
        (json!({ "token": "other1.0123456789abcdef" }), "token", vec!["knows no token \"other1\"", "kubeadm token"]),
        (json!({ "token": null }), "token", vec!["nothing to join by"]),
        (json!({ "ca-hash": other }), "hash", vec![cluster.ca_hash().as_str(), &other]),
        (json!({ "server": server(6444) }), "network", vec!["nothing listens on port 6444 of 198.51.100.1"]),
        (json!({ "server": "https://198.51.100.99:6443" }), "network", vec!["198.51.100.99, port 6443"]),
        (json!({ "name": "My_Node" }), "config", vec!["cannot be a node's name"]),
        (json!({ "tokn": "x" }), "config", vec!["unknown key `tokn`; did you mean `token`?"]),
        (
            json!({ "token": format!("{id}.fedcba9876543210"), "ca": cluster.ca().unwrap(), "ca-hash": null }),
            "token",
            vec!["does not accept the token"],
        ),
    ] {
        one.configure(&keys).unwrap();
        let (found, message) = one.error(&["join", "--timeout", "5"]).unwrap();
        assert_eq!(found, kind, "{keys}: {message}");
        for word in words {
            assert!(message.contains(word), "{keys}: no `{word}` in {message}");
        }
        assert!(!message.contains("fedcba9876543210"), "{message}");
    }
    assert_eq!(cluster.ok(&["get", "csr", "--output=name"]).unwrap(), "");
}

#[test]
fn who_is_not_approved_is_told_how_and_asks_once() {
    let cluster = ControlPlane::start().unwrap();
    cluster.ok(&["delete", "clusterrolebinding", "keelson:node-approve-bootstrap"]).unwrap();
    let one = Machine::new(&cluster, 2, "one").unwrap();
    let (kind, message) = one.error(&["join", "--timeout", "4"]).unwrap();
    assert!(kind == "approval" && message.contains("kubectl certificate approve node-csr-"), "{message}");
    let name = cluster.ok(&["get", "csr", "--output=jsonpath={.items[*].metadata.name}"]).unwrap();
    assert!(message.contains(&name), "{name}: {message}");
    cluster.ok(&["certificate", "approve", &name]).unwrap();
    one.run(&["join", "--timeout", "30"]).unwrap().expect(0).unwrap();
    assert_eq!(one.whoami().unwrap(), "system:node:one");

    let two = Machine::new(&cluster, 3, "two").unwrap();
    two.error(&["join", "--timeout", "2"]).unwrap();
    let names = cluster.ok(&["get", "csr", "--output=jsonpath={.items[*].metadata.name}"]).unwrap();
    let denied = names.split(' ').find(|other| *other != name).unwrap();
    cluster.ok(&["certificate", "deny", denied]).unwrap();
    let (kind, message) = two.error(&["join", "--timeout", "5"]).unwrap();
    assert!(kind == "approval" && message.contains("was denied"), "{message}");
    // The next try is another request.
    let (_, message) = two.error(&["join", "--timeout", "2"]).unwrap();
    assert!(message.contains("nobody approved") && !message.contains(denied), "{message}");
}

#[test]
fn a_name_that_is_another_machines_is_refused() {
    let cluster = ControlPlane::start().unwrap();
    let one = Machine::new(&cluster, 2, "one").unwrap();
    node_of_another_machine(&cluster, "one").unwrap();
    let (kind, message) = one.error(&["join"]).unwrap();
    assert_eq!(kind, "name", "{message}");
    assert!(message.contains("another machine (machine id m1)") && message.contains("--replace"), "{message}");
    assert!(!one.pki("client-current.pem").exists());
    let replaced = one.run(&["join", "--replace"]).unwrap().expect(0).unwrap();
    assert!(replaced.stdout.contains("takes the place"), "{replaced:?}");
    assert_eq!(one.whoami().unwrap(), "system:node:one");
}

#[test]
fn a_certificate_is_renewed_by_itself_and_both_are_in_use_at_once() {
    let cluster = ControlPlane::start().unwrap();
    let one = Machine::new(&cluster, 2, "one").unwrap();
    one.run(&["join"]).unwrap().expect(0).unwrap();
    let old = one.pki("client-current.pem");
    fs::write(&old, ending_certificate(&cluster, "one").unwrap()).unwrap();
    let before = fs::read_to_string(&old).unwrap();
    // Only the node's own certificate can renew it.
    one.configure(&json!({ "token": null })).unwrap();
    let daemon = Process::start(&mut one.command(&[]).unwrap(), &one.folder.join("log")).unwrap();
    let renewed = || fs::read_to_string(one.pki("client-current.pem")).is_ok_and(|now| now != before);
    assert!(eventually(Duration::from_secs(30), renewed), "{}", daemon.log_tail());
    assert_eq!(one.whoami().unwrap(), "system:node:one");
    // The serving certificate waits for somebody, and is taken as soon as it is there.
    let pending = "--output=jsonpath={.items[?(@.spec.signerName==\"kubernetes.io/kubelet-serving\")].metadata.name}";
    let mut name = String::new();
    let asked = eventually(Duration::from_secs(30), || {
        name = cluster.ok(&["get", "csr", pending]).unwrap();
        !name.is_empty()
    });
    assert!(asked, "{}", daemon.log_tail());
    assert!(told(&one).unwrap()["serving_certificate"].is_null());
    cluster.ok(&["certificate", "approve", &name]).unwrap();
    let signed = || told(&one).is_ok_and(|report| !report["serving_certificate"].is_null());
    assert!(eventually(Duration::from_secs(30), signed), "{}", daemon.log_tail());
    let report = told(&one).unwrap();
    assert_eq!((&report["state"], &report["name"]), (&json!("joined"), &json!("one")), "{report}");
}

#[test]
fn a_daemon_waits_for_its_token_and_says_so() {
    let cluster = ControlPlane::start().unwrap();
    let one = Machine::new(&cluster, 2, "one").unwrap();
    one.configure(&json!({ "token": "later1.0123456789abcdef" })).unwrap();
    let daemon = Process::start(&mut one.command(&[]).unwrap(), &one.folder.join("log")).unwrap();
    let problem =
        || told(&one).is_ok_and(|report| report["problem"].as_str().is_some_and(|why| why.contains("later1")));
    assert!(eventually(Duration::from_secs(30), problem), "{}", daemon.log_tail());
    let token = [
        "token-id=later1",
        "token-secret=0123456789abcdef",
        "usage-bootstrap-authentication=true",
        "usage-bootstrap-signing=true",
    ];
    let literals: Vec<String> = token.iter().map(|literal| format!("--from-literal={literal}")).collect();
    let mut words = vec!["create", "secret", "generic", "bootstrap-token-later1", "--namespace=kube-system"];
    words.push("--type=bootstrap.kubernetes.io/token");
    words.extend(literals.iter().map(String::as_str));
    cluster.ok(&words).unwrap();
    let joined = || told(&one).is_ok_and(|report| report["state"] == "joined");
    assert!(eventually(Duration::from_secs(60), joined), "{}", daemon.log_tail());
}

#[test]
fn draining_respects_budgets_and_loses_nothing_unasked() {
    let cluster = ControlPlane::start().unwrap();
    let one = Machine::new(&cluster, 2, "one").unwrap();
    one.run(&["join"]).unwrap().expect(0).unwrap();
    node_of_another_machine(&cluster, "one").unwrap();
    running_pod(&cluster, "web", "one").unwrap();
    let (_, message) = one.error(&["drain"]).unwrap();
    assert!(message.contains("nothing makes these pods anew elsewhere: default/web"), "{message}");
    cluster.ok(&["create", "pdb", "web", "--selector=app=web", "--min-available=1"]).unwrap();
    cluster.ok(&["wait", "pdb", "web", "--for=jsonpath={.status.currentHealthy}=1", "--timeout=30s"]).unwrap();
    let (_, message) = one.error(&["drain", "--force", "--timeout", "3"]).unwrap();
    assert!(message.contains("default/web") && message.contains("budget"), "{message}");
    let cordoned = ["get", "node", "one", "--output=jsonpath={.spec.unschedulable}"];
    assert_eq!(cluster.ok(&cordoned).unwrap(), "true");
    cluster.ok(&["delete", "pdb", "web"]).unwrap();
    let drain = one.command(&["drain", "--force", "--timeout", "60"]).unwrap().stdout(Stdio::piped()).spawn().unwrap();
    let going = ["wait", "pod", "web", "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=30s"];
    cluster.ok(&going).unwrap();
    // As there is no agent to end it.
    cluster.ok(&["delete", "pod", "web", "--force", "--grace-period=0"]).unwrap();
    let ended = drain.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("default/web is gone"), "{said}");
}

/// What the daemon tells of itself.
fn told(machine: &Machine<'_>) -> Result<Value> {
    use std::io::BufRead;
    let stream = std::os::unix::net::UnixStream::connect(machine.folder.join("run/status.sock"))?;
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// A Node that is ready and another machine.
fn node_of_another_machine(cluster: &ControlPlane, name: &str) -> Result<()> {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
    cluster.ok(&["create", "--filename", &super::object(cluster, &format!("node-{name}"), &node)?])?;
    let info = json!({
        "machineID": "m1", "systemUUID": "u1", "bootID": "b", "kernelVersion": "k", "osImage": "o", "architecture": "a",
        "containerRuntimeVersion": "c://1", "kubeletVersion": "v1", "kubeProxyVersion": "", "operatingSystem": "linux",
    });
    let ready = json!({ "type": "Ready", "status": "True", "reason": "Test", "message": "as a test says" });
    status(cluster, "node", name, &json!({ "nodeInfo": info, "conditions": [ready] }))
}

/// A pod that nothing makes anew, and that runs as far as the cluster knows.
fn running_pod(cluster: &ControlPlane, name: &str, node: &str) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "registry.test/c:1" }] },
    });
    cluster.ok(&["create", "--filename", &super::object(cluster, &format!("pod-{name}"), &pod)?])?;
    status(cluster, "pod", name, &json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] }))
}

fn status(cluster: &ControlPlane, kind: &str, name: &str, status: &Value) -> Result<()> {
    let patch = json!({ "status": status }).to_string();
    cluster.ok(&["patch", kind, name, "--subresource=status", "--type=merge", "--patch", &patch]).map(drop)
}

/// A node's certificate whose time is nearly over, with its key.
fn ending_certificate(cluster: &ControlPlane, node: &str) -> Result<String> {
    let subject = |words: &[(DnType, &str)]| {
        let mut name = DistinguishedName::new();
        words.iter().for_each(|(kind, word)| name.push(kind.clone(), *word));
        name
    };
    let authority = KeyPair::from_pem(&fs::read_to_string(cluster.folder().join("pki/ca.key"))?)?;
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = subject(&[(DnType::CommonName, "kubernetes")]);
    let issuer = Issuer::new(issuer, authority);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    let common = format!("system:node:{node}");
    params.distinguished_name = subject(&[(DnType::OrganizationName, "system:nodes"), (DnType::CommonName, &common)]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    params.not_before = now - Duration::from_secs(36_000);
    params.not_after = now + Duration::from_secs(300);
    Ok(format!("{}{}", params.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
}
