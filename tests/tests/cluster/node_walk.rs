//! That two nodes of ours do what people use a cluster for, by kubectl and a real control plane:
//! workloads of each kind, spread, found by Services, updated, and moved away from a node that is drained.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;
use keelson_tests::cluster::{Agent, ControlPlane, NodeRig};
use serde_json::{Value, json};

use super::node_services::{a_service_balances, a_service_follows_labels};
use super::node_tools::{
    a_port_is_forwarded, exec_hands_on_input_and_exit_codes, files_are_copied, logs_are_followed, one_attaches,
};
use super::place::{Place, all_hold, pod, set, shell, spec, web};

#[test]
fn two_nodes_do_the_work_of_a_cluster() {
    let cluster = ControlPlane::start().unwrap();
    let rigs = nodes(&cluster, &["one", "two"]).unwrap();
    all_hold(
        &cluster,
        &rigs,
        &[
            ("registered", nodes_are_registered),
            ("controller", a_replication_controller_spreads_and_scales),
            ("balance", a_service_balances),
            ("follow", a_service_follows_labels),
            ("selector", a_pod_goes_where_labels_say),
            ("rolling", a_deployment_is_updated_and_rolled_back),
            ("daemons", every_node_has_a_daemon),
            ("job", a_job_ends),
            ("ends", ends_are_seen_at_once),
            ("exec", exec_hands_on_input_and_exit_codes),
            ("logs", logs_are_followed),
            ("attach", one_attaches),
            ("forward", a_port_is_forwarded),
            ("copy", files_are_copied),
        ],
    )
    .unwrap();
    all_hold(&cluster, &rigs, &[("drain", a_drained_node_keeps_the_budget)]).unwrap();
}

/// Machines that have become nodes, all at once.
pub fn nodes(cluster: &ControlPlane, names: &[&str]) -> Result<Vec<NodeRig>> {
    let mut rigs = names.iter().map(|name| NodeRig::small(cluster, name)).collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let joining: Vec<_> = rigs.iter_mut().map(|rig| scope.spawn(|| rig.join(cluster, Agent::Ours))).collect();
        joining.into_iter().try_for_each(|join| join.join().ok().context("a panic")?.map(drop))
    })?;
    Ok(rigs)
}

/// What the pods with the label `app=NAME` run on.
fn on(place: &Place<'_>, name: &str) -> Result<BTreeSet<String>> {
    Ok(place.of_pods(&format!("app={name}"), ".spec.nodeName")?.into_iter().collect())
}

fn nodes_are_registered(place: &Place<'_>) -> Result<()> {
    let mut networks = BTreeSet::new();
    for rig in place.rigs {
        let node: Value = serde_json::from_str(&place.ok(&["get", "node", rig.name(), "--output=json"])?)?;
        let status = &node["status"];
        let has = |list: &Value, wanted: Value| list.as_array().is_some_and(|list| list.contains(&wanted));
        ensure!(has(&status["addresses"], json!({ "type": "InternalIP", "address": rig.address() })), "{node}");
        ensure!(has(&status["addresses"], json!({ "type": "Hostname", "address": rig.name() })), "{node}");
        for (condition, value) in [("Ready", "True"), ("MemoryPressure", "False"), ("PIDPressure", "False")] {
            let path = format!(".status.conditions[?(@.type==\"{condition}\")].status");
            ensure!(place.field(&format!("node/{}", rig.name()), &path)? == value, "{condition}: {node}");
        }
        ensure!(status["capacity"]["pods"] == "110" && status["allocatable"]["cpu"].is_string(), "{node}");
        ensure!(
            status["nodeInfo"]["containerRuntimeVersion"].as_str().is_some_and(|it| it.starts_with("containerd://"))
        );
        let labels = &node["metadata"]["labels"];
        ensure!(labels["kubernetes.io/hostname"] == rig.name() && labels["kubernetes.io/os"] == "linux", "{node}");
        let lease =
            ["get", "lease", rig.name(), "--namespace=kube-node-lease", "--output=jsonpath={.spec.holderIdentity}"];
        ensure!(place.ok(&lease)? == rig.name());
        networks.insert(node["spec"]["podCIDR"].to_string());
    }
    ensure!(networks.len() == place.rigs.len(), "{networks:?}");
    Ok(())
}

fn a_replication_controller_spreads_and_scales(place: &Place<'_>) -> Result<()> {
    let template = json!({ "metadata": { "labels": { "app": "six" } }, "spec": spec(&shell("sleep 1000")) });
    let mut six = json!({ "apiVersion": "v1", "kind": "ReplicationController", "metadata": { "name": "six" } });
    six["spec"] = json!({ "replicas": 6, "selector": { "app": "six" }, "template": template });
    place.make(&[six])?;
    place.wait("rc/six", ".status.readyReplicas", "6")?;
    ensure!(on(place, "six")?.len() == 2, "all on one node");
    let addresses: BTreeSet<String> = place.of_pods("app=six", ".status.podIP")?.into_iter().collect();
    ensure!(addresses.len() == 6, "{addresses:?}");
    place.ok(&["scale", "rc/six", "--replicas=3"])?;
    place.until("three pods are left", || Ok(place.of_pods("app=six", ".metadata.name")?.len() == 3))?;
    place.wait("rc/six", ".status.readyReplicas", "3")
}

fn a_pod_goes_where_labels_say(place: &Place<'_>) -> Result<()> {
    place.ok(&["label", "node", "two", "rack=b"])?;
    let mut picky = pod("picky", &shell("sleep 1000"));
    picky["spec"]["nodeSelector"] = json!({ "rack": "b" });
    let mut waiting = pod("waiting", &shell("sleep 1000"));
    waiting["spec"]["nodeSelector"] = json!({ "rack": "c" });
    place.make(&[picky, waiting])?;
    place.ready("picky")?;
    ensure!(place.field("pod/picky", ".spec.nodeName")? == "two");
    ensure!(place.field("pod/waiting", ".status.phase")? == "Pending");
    place.ok(&["label", "node", "one", "rack=c"])?;
    place.ready("waiting")?;
    ensure!(on(place, "waiting")? == BTreeSet::from(["one".to_owned()]));
    Ok(())
}

fn a_deployment_is_updated_and_rolled_back(place: &Place<'_>) -> Result<()> {
    let mut container = web();
    container["env"] = json!([{ "name": "RELEASE", "value": "1" }]);
    place.make(&[set("Deployment", "app", &container, &json!({ "replicas": 4 }))])?;
    let rolled_out = |release: &str| -> Result<()> {
        place.ok(&["rollout", "status", "deployment/app", "--timeout=90s"])?;
        place.until("only the new release is left", || {
            let found = place.of_pods("app=app", ".spec.containers[0].env[0].value")?;
            Ok(found.len() == 4 && found.iter().all(|other| other == release))
        })?;
        let pods = place.of_pods("app=app", ".metadata.name")?;
        ensure!(place.sh(&pods[0], "echo $RELEASE")? == release);
        Ok(())
    };
    rolled_out("1")?;
    place.ok(&["set", "env", "deployment/app", "RELEASE=2"])?;
    rolled_out("2")?;
    place.ok(&["rollout", "undo", "deployment/app"])?;
    rolled_out("1")
}

fn every_node_has_a_daemon(place: &Place<'_>) -> Result<()> {
    let mut container = shell("echo on $NODE; exec sleep 1000");
    container["env"] = json!([{ "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }]);
    place.make(&[set("DaemonSet", "agent", &container, &json!({}))])?;
    place.ok(&["rollout", "status", "daemonset/agent", "--timeout=60s"])?;
    // They run, and say so a moment later.
    place.until("a daemon on each node has told where it is", || {
        let logged = place.ok(&["logs", "--selector=app=agent"])?;
        Ok(logged.lines().collect::<BTreeSet<_>>() == BTreeSet::from(["on one", "on two"]))
    })
}

fn a_job_ends(place: &Place<'_>) -> Result<()> {
    let mut pod = spec(&shell("echo done; [ -e /tally/failed ] || { touch /tally/failed; exit 3; }"));
    pod["restartPolicy"] = json!("OnFailure");
    pod["volumes"] = json!([{ "name": "tally", "emptyDir": {} }]);
    pod["containers"][0]["volumeMounts"] = json!([{ "name": "tally", "mountPath": "/tally" }]);
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": "work" },
        "spec": { "completions": 4, "parallelism": 2, "template": { "spec": pod } },
    });
    place.make(&[job])?;
    place.ok(&["wait", "job/work", "--for=condition=Complete", "--timeout=90s"])?;
    let label = "batch.kubernetes.io/job-name=work";
    ensure!(place.of_pods(label, ".status.phase")? == ["Succeeded"; 4]);
    // Each failed once, and was tried again in its pod.
    let restarts = place.of_pods(label, ".status.containerStatuses[0].restartCount")?;
    ensure!(restarts == ["1"; 4], "{restarts:?}");
    Ok(())
}

/// Three in a row: whoever only looked now and then would be lucky with one. When the node saw it is in the pod;
/// kubectl may take seconds to start while other checks run.
fn ends_are_seen_at_once(place: &Place<'_>) -> Result<()> {
    let pods = [1, 6, 11].map(|seconds| {
        let mut pod = pod(&format!("after-{seconds}"), &shell(&format!("sleep {seconds}")));
        pod["spec"]["restartPolicy"] = json!("Never");
        pod
    });
    place.make(&pods)?;
    for pod in pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()) {
        let pod = format!("pod/{pod}");
        place.wait(&pod, ".status.phase", "Succeeded")?;
        let time = |path: &str| -> Result<u64> {
            let time = place.field(&pod, path)?;
            Ok(Command::new("date").args(["+%s", "--date", &time]).output_text()?.trim().parse()?)
        };
        let ended = time(".status.containerStatuses[0].state.terminated.finishedAt")?;
        let seen = time(".status.conditions[?(@.type==\"Ready\")].lastTransitionTime")?;
        // Earlier, where it had ended before it was seen to run.
        let after = seen.saturating_sub(ended);
        ensure!(after < 5, "the end of {pod} was seen after {after} s");
    }
    Ok(())
}

fn a_drained_node_keeps_the_budget(place: &Place<'_>) -> Result<()> {
    let budget = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": { "name": "app" },
        "spec": { "minAvailable": 3, "selector": { "matchLabels": { "app": "app" } } },
    });
    place.make(&[set("Deployment", "app", &web(), &json!({ "replicas": 4 })), budget])?;
    place.ok(&["rollout", "status", "deployment/app", "--timeout=60s"])?;
    place.wait("pdb/app", ".status.currentHealthy", "4")?;
    ensure!(on(place, "app")?.len() == 2, "all on one node");
    let words = ["drain", "one", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s"];
    let mut drain = place.command(&words)?.stdout(Stdio::null()).spawn()?;
    let mut fewest = usize::MAX;
    let ended = loop {
        let ready = place.field("deployment/app", ".status.readyReplicas")?;
        fewest = fewest.min(ready.parse().unwrap_or(0));
        if let Some(ended) = drain.try_wait()? {
            break ended;
        }
    };
    ensure!(ended.success() && fewest >= 3, "{ended}, at times {fewest} ready");
    let two = BTreeSet::from(["two".to_owned()]);
    place.until("all are on the other node", || Ok(on(place, "app")? == two))?;
    place.ok(&["rollout", "status", "deployment/app", "--timeout=60s"])?;
    place.ok(&["uncordon", "one"])?;
    place.ok(&["scale", "deployment/app", "--replicas=8"])?;
    place.ok(&["rollout", "status", "deployment/app", "--timeout=60s"])?;
    ensure!(on(place, "app")?.len() == 2, "nothing came back to the node");
    Ok(())
}
