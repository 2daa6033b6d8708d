//! How pods on two nodes are found by Services: by cluster IP from a pod, by a node's port from outside.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;
use serde_json::{Value, json};

use super::place::{Place, pod, set, shell, web};

/// A Service at port 8080 for pods with the label `app=web`.
fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": {
            "type": "NodePort",
            "selector": { "app": "web" },
            "ports": [{ "port": 8080, "targetPort": 80 }],
        },
    })
}

/// Makes pods `web` behind a Service, and a pod `asker` once they are ready.
fn set_up(place: &Place<'_>, replicas: u8) -> Result<()> {
    place.make(&[service("web"), set("Deployment", "web", &web(), &json!({ "replicas": replicas }))])?;
    place.ok(&["rollout", "status", "deployment/web", "--timeout=60s"])?;
    place.make(&[pod("asker", &shell("sleep 1000"))])?;
    place.ready("asker")
}

/// Who answers when the Service is asked forty times by its address, each time anew.
fn answers(place: &Place<'_>) -> Result<BTreeSet<String>> {
    let ask = "for i in $(seq 40); do
        printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 $WEB_SERVICE_HOST $WEB_SERVICE_PORT | tail -n 1
    done";
    let answers: Vec<String> = place.sh("asker", ask)?.lines().map(str::to_owned).collect();
    ensure!(answers.len() == 40, "{answers:?}");
    Ok(answers.into_iter().collect())
}

pub fn a_service_balances(place: &Place<'_>) -> Result<()> {
    set_up(place, 4)?;
    let names = place.of_pods("app=web", ".metadata.name")?;
    let on: BTreeMap<String, String> = names.into_iter().zip(place.of_pods("app=web", ".spec.nodeName")?).collect();
    let nodes: BTreeSet<&String> = on.values().collect();
    ensure!(nodes.len() == 2, "{on:?}");
    place.until("all pods answer", || Ok(answers(place)? == on.keys().cloned().collect()))?;
    // And from a machine outside, at the port of each node, wherever the pod is.
    let port = place.field("service/web", ".spec.ports[0].nodePort")?;
    for rig in place.rigs {
        let mut curl = place.cluster.command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "10"]);
        let answer = curl.arg(format!("http://{}:{port}/", rig.address())).output_text()?;
        ensure!(on.contains_key(answer.trim()), "{answer}");
    }
    Ok(())
}

pub fn a_service_follows_labels(place: &Place<'_>) -> Result<()> {
    set_up(place, 2)?;
    let names = place.of_pods("app=web", ".metadata.name")?;
    let taken = names.first().context("no pod")?;
    // The Service forgets it, and the Deployment makes another in its place.
    place.ok(&["label", "pod", taken, "app=other", "--overwrite"])?;
    place.until("another pod takes the place", || {
        let found = answers(place)?;
        Ok(found.len() == 2 && !found.contains(taken))
    })?;
    ensure!(place.of_pods("app=other", ".metadata.name")? == [taken.as_str()]);
    // One that no longer is ready is not asked.
    let names = place.of_pods("app=web", ".metadata.name")?;
    place.sh(&names[0], "rm /www/index.html")?;
    place.until("only the ready pod answers", || Ok(answers(place)?.iter().eq([&names[1]])))?;
    let ready = place.of_pods("app=web", ".status.containerStatuses[0].ready")?;
    ensure!(ready == ["false", "true"], "{ready:?}");
    Ok(())
}
