//! What people are told of pods that cannot run, or do not run well: the reasons and events they know
//! from elsewhere. A neighbour does not notice, and nothing is left of any of them.

use anyhow::{Result, ensure};
use keelson_tests::cluster::ControlPlane;
use serde_json::{Value, json};

use super::node_walk::nodes;
use super::place::{Check, Place, all_hold, pod, shell, web};

#[test]
fn faults_are_told_and_stay_where_they_are() {
    let cluster = ControlPlane::start().unwrap();
    let rigs = nodes(&cluster, &["one"]).unwrap();
    let neighbour = Place::new(&cluster, &rigs, "neighbour").unwrap();
    neighbour.make(&[pod("web", &web())]).unwrap();
    neighbour.ready("web").unwrap();
    let since = ".status.conditions[?(@.type==\"Ready\")].lastTransitionTime";
    let before = neighbour.field("pod/web", since).unwrap();
    let checks: [Check; 11] = [
        ("config", a_variable_from_a_missing_secret),
        ("mount", a_volume_of_a_missing_secret),
        ("host-path", a_mount_that_fails),
        ("image", an_image_that_cannot_be_pulled),
        ("never", an_image_that_may_not_be_pulled),
        ("hangs", a_liveness_probe_that_hangs),
        ("silent", a_readiness_probe_that_nobody_answers),
        ("crash", a_container_that_dies_at_once),
        ("command", a_command_that_is_missing),
        ("memory", a_container_that_wants_too_much),
        ("forks", a_container_that_forks_without_end),
    ];
    all_hold(&cluster, &rigs, &checks).unwrap();
    assert_eq!(neighbour.field("pod/web", since).unwrap(), before);
    assert_eq!(neighbour.field("pod/web", ".status.containerStatuses[0].restartCount").unwrap(), "0");
    let mut delete = vec!["delete", "namespaces", "neighbour", "--timeout=90s"];
    delete.extend(checks.iter().map(|(name, _)| *name));
    cluster.ok(&delete).unwrap();
    assert_eq!(rigs[0].left(), Vec::<String>::new());
}

const WAITING: &str = ".status.containerStatuses[0].state.waiting.reason";
const LAST: &str = ".status.containerStatuses[0].lastState.terminated";

/// A container that sleeps, with a part of its own.
fn sleeper(key: &str, value: Value) -> Value {
    let mut container = shell("sleep 1000");
    container[key] = value;
    container
}

fn with_volume(name: &str, volume: &Value) -> Value {
    let mut pod = pod(name, &sleeper("volumeMounts", json!([{ "name": "data", "mountPath": "/data" }])));
    pod["spec"]["volumes"] = json!([volume]);
    pod
}

fn a_variable_from_a_missing_secret(place: &Place<'_>) -> Result<()> {
    let from = json!([{ "name": "KEY", "valueFrom": { "secretKeyRef": { "name": "missing", "key": "key" } } }]);
    place.make(&[pod("a", &sleeper("env", from))])?;
    place.wait("pod/a", WAITING, "CreateContainerConfigError")?;
    place.event("a", "Failed", &["secret \"missing\" not found"])?;
    place.ok(&["create", "secret", "generic", "missing", "--from-literal=key=value"])?;
    place.ready("a")?;
    ensure!(place.sh("a", "echo $KEY")? == "value");
    Ok(())
}

fn a_volume_of_a_missing_secret(place: &Place<'_>) -> Result<()> {
    place.make(&[with_volume("a", &json!({ "name": "data", "secret": { "secretName": "missing" } }))])?;
    place.event(
        "a",
        "FailedMount",
        &["MountVolume.SetUp failed for volume \"data\"", "secret \"missing\" not found"],
    )?;
    ensure!(place.field("pod/a", WAITING)? == "ContainerCreating");
    place.ok(&["create", "secret", "generic", "missing", "--from-literal=key=value"])?;
    place.ready("a")?;
    ensure!(place.sh("a", "cat /data/key")? == "value");
    Ok(())
}

fn a_mount_that_fails(place: &Place<'_>) -> Result<()> {
    let missing = place.rigs[0].folder().join("missing");
    let volume = json!({ "name": "data", "hostPath": { "path": missing, "type": "Directory" } });
    place.make(&[with_volume("a", &volume)])?;
    place.event("a", "FailedMount", &["hostPath type check failed", "is not a directory"])?;
    ensure!(place.field("pod/a", ".status.phase")? == "Pending");
    Ok(())
}

fn an_image_that_cannot_be_pulled(place: &Place<'_>) -> Result<()> {
    // Nothing listens there.
    let image = "198.51.100.1:5000/missing:1";
    place.make(&[pod("a", &sleeper("image", json!(image)))])?;
    place.event("a", "Failed", &["Failed to pull image", image])?;
    place.event("a", "Failed", &["ErrImagePull"])?;
    place.wait("pod/a", WAITING, "ImagePullBackOff")?;
    place.event("a", "BackOff", &["Back-off pulling image", image])
}

fn an_image_that_may_not_be_pulled(place: &Place<'_>) -> Result<()> {
    let mut container = sleeper("image", json!("keelson.test/missing:1"));
    container["imagePullPolicy"] = json!("Never");
    place.make(&[pod("a", &container)])?;
    place.wait("pod/a", WAITING, "ErrImageNeverPull")?;
    place.event("a", "ErrImageNeverPull", &["is not present with pull policy of Never"])
}

fn a_liveness_probe_that_hangs(place: &Place<'_>) -> Result<()> {
    let probe = json!({
        "exec": { "command": ["sleep", "1000"] },
        "timeoutSeconds": 1,
        "periodSeconds": 1,
        "failureThreshold": 2,
    });
    place.make(&[pod("a", &sleeper("livenessProbe", probe))])?;
    place.event("a", "Unhealthy", &["Liveness probe failed", "timed out"])?;
    place.event("a", "Killing", &["failed liveness probe, will be restarted"])?;
    // Again and again: whoever comes late finds more than one.
    place.until("it is restarted", || {
        let count = place.field("pod/a", ".status.containerStatuses[0].restartCount")?;
        Ok(count.parse::<u32>().is_ok_and(|count| count > 0))
    })
}

fn a_readiness_probe_that_nobody_answers(place: &Place<'_>) -> Result<()> {
    let page = "/www/cgi-bin/page";
    let script = format!("mkdir -p /www/cgi-bin; printf '#!/bin/sh\\nsleep 1000' >{page}; chmod +x {page}");
    let mut container = shell(&format!("{script}; exec httpd -f -p 80 -h /www"));
    container["readinessProbe"] = json!({ "httpGet": { "path": "/cgi-bin/page", "port": 80 }, "periodSeconds": 1 });
    place.make(&[pod("a", &container)])?;
    place.event("a", "Unhealthy", &["Readiness probe failed", "Client.Timeout exceeded"])?;
    let status = place.field("pod/a", ".status.containerStatuses[0]")?;
    let status: Value = serde_json::from_str(&status)?;
    ensure!(status["ready"] == false && status["started"] == true && status["restartCount"] == 0, "{status}");
    Ok(())
}

fn a_container_that_dies_at_once(place: &Place<'_>) -> Result<()> {
    place.make(&[pod("a", &shell("echo why >/dev/termination-log; echo so it ends; exit 3"))])?;
    place.wait("pod/a", WAITING, "CrashLoopBackOff")?;
    place.event("a", "BackOff", &["Back-off restarting failed container main in pod a_"])?;
    let last: Value = serde_json::from_str(&place.field("pod/a", LAST)?)?;
    ensure!(last["exitCode"] == 3 && last["reason"] == "Error" && last["message"] == "why\n", "{last}");
    ensure!(place.ok(&["logs", "a", "--previous"])? == "so it ends");
    ensure!(place.field("pod/a", ".status.phase")? == "Running");
    Ok(())
}

fn a_command_that_is_missing(place: &Place<'_>) -> Result<()> {
    place.make(&[pod("a", &sleeper("command", json!(["/missing"])))])?;
    place.event("a", "Failed", &["/missing", "no such file or directory"])?;
    place.wait("pod/a", WAITING, "CrashLoopBackOff")?;
    let last: Value = serde_json::from_str(&place.field("pod/a", LAST)?)?;
    ensure!(last["exitCode"] == 128 && last["reason"] == "StartError", "{last}");
    Ok(())
}

fn a_container_that_wants_too_much(place: &Place<'_>) -> Result<()> {
    let mut container = shell("exec tail /dev/zero");
    container["resources"] = json!({ "limits": { "memory": "24Mi" } });
    let mut pod = pod("a", &container);
    pod["spec"]["restartPolicy"] = json!("Never");
    place.make(&[pod])?;
    place.wait("pod/a", ".status.phase", "Failed")?;
    let ended = place.field("pod/a", ".status.containerStatuses[0].state.terminated")?;
    let ended: Value = serde_json::from_str(&ended)?;
    ensure!(ended["exitCode"] == 137 && ended["reason"] == "OOMKilled", "{ended}");
    Ok(())
}

fn a_container_that_forks_without_end(place: &Place<'_>) -> Result<()> {
    let mut pod = pod("a", &shell("while :; do sleep 1000 & done"));
    pod["spec"]["restartPolicy"] = json!("Never");
    place.make(&[pod])?;
    // It is not given more than a pod may have, and ends of that.
    place.wait("pod/a", ".status.phase", "Failed")?;
    ensure!(place.ok(&["logs", "a"])?.contains("can't fork"));
    let ended = place.field("pod/a", ".status.containerStatuses[0].state.terminated")?;
    let ended: Value = serde_json::from_str(&ended)?;
    ensure!(ended["exitCode"] == 2 && ended["reason"] == "Error", "{ended}");
    Ok(())
}
