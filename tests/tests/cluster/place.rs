//! Owns how checks share a cluster: each has a [`Place`], a namespace of its own, and they run side by
//! side; all that fail are told. And the objects that checks make there.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keelson_tests::cluster::{ControlPlane, NodeRig, images, program};
use keelson_tests::containers::eventually;
use keelson_tests::keelson::Run;
use serde_json::{Value, json};

/// How long a thing may take that takes a second or two on a machine that is not busy.
pub const SOON: Duration = Duration::from_secs(60);

/// A namespace of a cluster.
pub struct Place<'a> {
    pub cluster: &'a ControlPlane,
    pub rigs: &'a [NodeRig],
    pub name: &'static str,
}

/// What holds of a cluster, and how that is seen.
pub type Check = (&'static str, fn(&Place<'_>) -> Result<()>);

/// Runs checks side by side, each in a namespace of its name; fails when any does, and tells of all.
pub fn all_hold(cluster: &ControlPlane, rigs: &[NodeRig], checks: &[Check]) -> Result<()> {
    let run = |(name, check): &Check| {
        let start = Instant::now();
        let ended = Place::new(cluster, rigs, name).and_then(|place| check(&place).with_context(|| place.story()));
        eprintln!(
            "{name}: {} after {:.1} s",
            if ended.is_ok() { "ok" } else { "FAILED" },
            start.elapsed().as_secs_f64()
        );
        ended.err().map(|error| format!("{name}: {error:?}"))
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = checks.iter().map(|check| scope.spawn(|| run(check))).collect();
        let ended = running.into_iter().map(|check| check.join().unwrap_or_else(|_| Some("a panic, see above".into())));
        ended.flatten().collect()
    });
    ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
    Ok(())
}

impl<'a> Place<'a> {
    /// A new one; `rigs` are the cluster's nodes.
    pub fn new(cluster: &'a ControlPlane, rigs: &'a [NodeRig], name: &'static str) -> Result<Self> {
        cluster.ok(&["create", "namespace", name])?;
        let place = Self { cluster, rigs, name };
        // No pod is taken before.
        place.ok(&["wait", "--for=create", "serviceaccount/default", "--timeout=30s"])?;
        Ok(place)
    }

    /// `kubectl WORDS` here, not yet started.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = self.cluster.command(program("kubectl")?);
        command.args(["--namespace", self.name]).args(words).stdin(Stdio::null());
        Ok(command)
    }

    /// `kubectl WORDS` here, to its end.
    pub fn kubectl(&self, words: &[&str]) -> Result<Run> {
        self.cluster.kubectl(&[&["--namespace", self.name], words].concat())
    }

    /// As [`Place::kubectl`], which must succeed; gives what it printed, without the last line's end.
    pub fn ok(&self, words: &[&str]) -> Result<String> {
        self.cluster.ok(&[&["--namespace", self.name], words].concat())
    }

    /// As [`Place::ok`], with something to read on standard input.
    pub fn ok_with_input(&self, words: &[&str], input: &str) -> Result<String> {
        let mut child = self.command(words)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "kubectl {}: {}", words.join(" "), output.status);
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Makes objects.
    pub fn make(&self, objects: &[Value]) -> Result<()> {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let first = &objects.first().context("no object")?["metadata"]["name"];
        let name = format!("{}-{}", self.name, first.as_str().unwrap_or_default());
        let file = super::object(self.cluster, &name, &list)?;
        self.ok(&["create", "--filename", &file]).map(drop)
    }

    /// A field of an object, by JSONPath; nothing where there is none.
    pub fn field(&self, object: &str, path: &str) -> Result<String> {
        let output = format!("--output=jsonpath={{{path}}}");
        self.ok(&["get", object, &output])
    }

    /// The words that a JSONPath gives of all pods with a label.
    pub fn of_pods(&self, label: &str, path: &str) -> Result<Vec<String>> {
        let (selector, output) = (format!("--selector={label}"), format!("--output=jsonpath={{.items[*]{path}}}"));
        let words = self.ok(&["get", "pods", &selector, &output])?;
        Ok(words.split_whitespace().map(str::to_owned).collect())
    }

    /// Waits until an object has a value, as `kubectl wait --for=jsonpath=` does.
    pub fn wait(&self, object: &str, path: &str, value: &str) -> Result<()> {
        self.ok(&["wait", object, &format!("--for=jsonpath={{{path}}}={value}"), "--timeout=60s"]).map(drop)
    }

    /// Waits until a pod is Ready.
    pub fn ready(&self, pod: &str) -> Result<()> {
        self.ok(&["wait", &format!("pod/{pod}"), "--for=condition=Ready", "--timeout=60s"]).map(drop)
    }

    /// Runs a shell's script in a pod's first container; gives what it printed.
    pub fn sh(&self, pod: &str, script: &str) -> Result<String> {
        self.ok(&["exec", pod, "--", "sh", "-c", script])
    }

    /// Waits for what `seen` says yes to.
    pub fn until(&self, what: &str, mut seen: impl FnMut() -> Result<bool>) -> Result<()> {
        let mut last = Ok(false);
        if eventually(SOON, || {
            last = seen();
            matches!(last, Ok(true))
        }) {
            return Ok(());
        }
        last.context(what.to_owned())?;
        bail!("{what}: not within {SOON:?}")
    }

    /// Waits for an event of an object whose message has all words.
    pub fn event(&self, object: &str, reason: &str, words: &[&str]) -> Result<()> {
        let selector = format!("--field-selector=involvedObject.name={object},reason={reason}");
        self.until(&format!("no event {reason} of {object} says {words:?}"), || {
            let told = self.ok(&["get", "events", &selector, "--output=jsonpath={.items[*].message}"])?;
            Ok(!told.is_empty() && words.iter().all(|word| told.contains(word)))
        })
    }

    /// What there is here, for whoever has to find out why a check failed.
    fn story(&self) -> String {
        let ask = |words: &[&str]| self.ok(words).unwrap_or_else(|error| format!("? {error:#}"));
        let logs: String = self
            .rigs
            .iter()
            .filter_map(|rig| Some((rig.name(), fs::read_to_string(rig.folder().join("keeld-node.log")).ok()?)))
            .map(|(name, log)| {
                let lines: Vec<&str> = log.lines().filter(|line| line.contains(self.name)).collect();
                format!("--- what node {name} logged of it\n{}\n", lines[lines.len().saturating_sub(40)..].join("\n"))
            })
            .collect();
        let (pods, events) = (ask(&["get", "all", "--output=wide"]), ask(&["get", "events"]));
        format!("--- {pods}\n--- {events}\n{logs}--- the error")
    }
}

/// A container of busybox that runs a shell's script.
pub fn shell(script: &str) -> Value {
    json!({ "name": "main", "image": images::BUSYBOX, "command": ["sh", "-c", script] })
}

/// A container that serves its pod's name at port 80, and is ready once it does.
pub fn web() -> Value {
    let mut container = shell("mkdir /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www");
    container["ports"] = json!([{ "containerPort": 80 }]);
    container["readinessProbe"] = json!({ "httpGet": { "path": "/", "port": 80 }, "periodSeconds": 1 });
    container
}

/// A pod's specification. A shell that is a container's first process does not hear a polite end.
pub fn spec(container: &Value) -> Value {
    json!({ "containers": [container], "terminationGracePeriodSeconds": 1 })
}

/// A pod with the label `app=NAME`.
pub fn pod(name: &str, container: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": spec(container),
    })
}

/// Something that makes pods with the label `app=NAME`: a Deployment, a DaemonSet.
pub fn set(kind: &str, name: &str, container: &Value, further: &Value) -> Value {
    let labels = json!({ "app": name });
    let mut set = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec(container) },
        },
    });
    for (key, value) in further.as_object().into_iter().flatten() {
        set["spec"][key] = value.clone();
    }
    set
}
