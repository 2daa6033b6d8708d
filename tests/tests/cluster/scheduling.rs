//! That controllers and scheduler do their work: a Deployment's pods wait where there is no node, and
//! go to the first that is ready.

use keelson_common::command::CommandExt;
use keelson_tests::cluster::ControlPlane;
use serde_json::json;

use super::{node, register};

#[test]
fn pods_wait_for_a_ready_node() {
    let cluster = ControlPlane::start().unwrap();
    cluster.ok(&["create", "deployment", "web", "--image=registry.test/web:1", "--replicas=2"]).unwrap();
    let unschedulable = "--for=jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].reason}=Unschedulable";
    // kubectl waits for pods only once there are some.
    let replicas = "--for=jsonpath={.status.replicas}=2";
    cluster.ok(&["wait", "deployment", "web", replicas, "--timeout=30s"]).unwrap();
    cluster.ok(&["wait", "pods", "--selector=app=web", unschedulable, "--timeout=30s"]).unwrap();
    let phases = || cluster.ok(&["get", "pods", "--output=jsonpath={.items[*].status.phase}"]).unwrap();
    let nodes = || cluster.ok(&["get", "pods", "--output=jsonpath={.items[*].spec.nodeName}"]).unwrap();
    assert_eq!((phases().as_str(), nodes().as_str()), ("Pending Pending", ""));

    let one = node(&cluster, "one").unwrap();
    register(&cluster, "one", &one).unwrap();
    let room = json!({ "cpu": "2", "memory": "1Gi", "pods": "10" });
    let ready = json!({ "type": "Ready", "status": "True", "reason": "Test", "message": "as a test says" });
    let status = json!({ "status": { "capacity": room, "allocatable": room, "conditions": [ready] } }).to_string();
    // `kubectl patch` would read the status alone first, which a node may not.
    let mut curl = cluster.command("curl");
    let files = ["pki/ca.crt", "one.crt", "one.key"].map(|file| cluster.folder().join(file));
    for (option, file) in ["--cacert", "--cert", "--key"].iter().zip(files) {
        curl.arg(option).arg(file);
    }
    curl.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "10", "--request", "PATCH"]);
    curl.args(["--header", "Content-Type: application/merge-patch+json", "--data", &status]);
    curl.arg(format!("{}/api/v1/nodes/one/status", cluster.server())).run().unwrap();
    let scheduled = "--for=jsonpath={.spec.nodeName}=one";
    cluster.ok(&["wait", "pods", "--selector=app=web", scheduled, "--timeout=30s"]).unwrap();
    // No agent runs them.
    assert_eq!((phases().as_str(), nodes().as_str()), ("Pending Pending", "one one"));
}
