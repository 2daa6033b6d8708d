//! What is decided, case by case.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::super::observe::Sandbox;
use super::*;
use crate::cri::v1;

fn shape(spec: Value) -> Shape {
    let pod: Pod = serde_json::from_value(json!({ "spec": spec })).unwrap();
    Shape::of(&pod)
}

/// A pod of an init container, a sidecar and an app.
fn whole(policy: &str) -> Shape {
    shape(json!({
        "restartPolicy": policy,
        "initContainers": [{ "name": "init" }, { "name": "side", "restartPolicy": "Always" }],
        "containers": [{ "name": "app" }],
    }))
}

fn observed(containers: Vec<Seen>) -> Observed {
    let sandbox = Sandbox { id: "s".into(), attempt: 0, ready: true, created_at: 1, ips: Vec::new() };
    Observed { sandboxes: vec![sandbox], containers }
}

fn seen(name: &str, state: ContainerState, exit_code: i32) -> Seen {
    let started_at = if state == ContainerState::ContainerCreated { 0 } else { 1 };
    let status = v1::ContainerStatus { exit_code, started_at, ..Default::default() };
    Seen {
        id: format!("{name}-id"),
        name: name.into(),
        attempt: 0,
        state,
        created_at: 1,
        sandbox: "s".into(),
        status: Arc::new(status),
    }
}

fn runs(name: &str) -> Seen {
    seen(name, ContainerState::ContainerRunning, 0)
}

fn ended(name: &str, code: i32) -> Seen {
    seen(name, ContainerState::ContainerExited, code)
}

fn started(names: &[&str]) -> Known {
    let finding = |name: &&str| (format!("{name}-id"), Findings { started: true, ready: true, ..Default::default() });
    Known { findings: names.iter().map(finding).collect(), ..Known::default() }
}

fn starts(shape: &Shape, containers: Vec<Seen>, known: &Known) -> Vec<String> {
    plan(shape, &observed(containers), known).start
}

#[test]
fn a_new_pod_gets_a_sandbox_and_then_its_containers_in_order() {
    let shape = whole("Always");
    assert_eq!(plan(&shape, &Observed::default(), &Known::default()).sandbox, Some(0));
    assert_eq!(starts(&shape, vec![], &Known::default()), ["init"]);
    assert_eq!(starts(&shape, vec![runs("init")], &Known::default()), [""; 0]);
    assert_eq!(starts(&shape, vec![ended("init", 0)], &Known::default()), ["side"]);
    // The sidecar has not started: the app waits.
    assert_eq!(starts(&shape, vec![ended("init", 0), runs("side")], &Known::default()), [""; 0]);
    assert_eq!(starts(&shape, vec![ended("init", 0), runs("side")], &started(&["side"])), ["app"]);
}

#[test]
fn a_failed_init_container_is_tried_again_or_ends_the_pod() {
    assert_eq!(starts(&whole("Always"), vec![ended("init", 1)], &Known::default()), ["init"]);
    let over = plan(&whole("Never"), &observed(vec![ended("init", 1)]), &Known::default());
    assert!(over.finished && over.start.is_empty());
}

#[test]
fn an_app_that_ended_is_started_again_as_the_policy_says() {
    for (policy, code, again) in
        [("Always", 0, true), ("OnFailure", 0, false), ("OnFailure", 1, true), ("Never", 1, false)]
    {
        let shape = shape(json!({ "restartPolicy": policy, "containers": [{ "name": "app" }] }));
        let plan = plan(&shape, &observed(vec![ended("app", code)]), &Known::default());
        assert_eq!((plan.start == ["app"], plan.finished), (again, !again), "{policy} {code}");
    }
}

#[test]
fn a_container_of_its_own_policy_and_rules_goes_by_these() {
    let rules = json!([{ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } }]);
    let shape = shape(json!({ "restartPolicy": "Always", "containers": [
        { "name": "app", "restartPolicy": "Never", "restartPolicyRules": rules }] }));
    assert_eq!(starts(&shape, vec![ended("app", 42)], &Known::default()), ["app"]);
    assert!(plan(&shape, &observed(vec![ended("app", 1)]), &Known::default()).finished);
}

#[test]
fn what_ends_again_and_again_waits() {
    let shape = shape(json!({ "containers": [{ "name": "app" }] }));
    let known = Known { waits: [("app".to_owned(), (7, 20))].into(), ..Known::default() };
    let plan = plan(&shape, &observed(vec![ended("app", 1)]), &known);
    assert_eq!((plan.start.len(), plan.backoff["app"], plan.again, plan.finished), (0, (7, 20), Some(7), false));
}

#[test]
fn a_probe_that_fails_has_the_container_stopped() {
    let shape = shape(json!({ "containers": [{ "name": "app" }] }));
    let mut known = started(&["app"]);
    known.findings.get_mut("app-id").unwrap().kill = Some("Container app failed liveness probe".into());
    known.findings.get_mut("app-id").unwrap().grace = Some(3);
    let kills = plan(&shape, &observed(vec![runs("app")]), &known).kill;
    assert_eq!(kills.len(), 1);
    assert!(kills[0].grace == Some(3) && kills[0].message == "Container app failed liveness probe, will be restarted");
    known.stopping.push("app-id".into());
    assert_eq!(plan(&shape, &observed(vec![runs("app")]), &known), Plan::default());
}

#[test]
fn the_pod_is_over_when_only_sidecars_are_left() {
    let all = vec![ended("app", 0), runs("side"), ended("init", 0)];
    let plan = plan(&whole("Never"), &observed(all), &started(&["side"]));
    assert!(plan.finished && plan.start.is_empty() && plan.kill.is_empty());
}

#[test]
fn a_lost_sandbox_begins_anew_unless_all_was_done() {
    let mut lost = observed(vec![ended("app", 137), ended("side", 137), ended("init", 0)]);
    lost.sandboxes[0].ready = false;
    assert_eq!(plan(&whole("Always"), &lost, &Known::default()).sandbox, Some(1));
    assert!(plan(&whole("Never"), &lost, &Known::default()).finished);
    // Also where apps are yet to run: the worker fails such a pod.
    let mut early = observed(vec![ended("init", 0)]);
    early.sandboxes[0].ready = false;
    assert!(plan(&whole("Never"), &early, &Known::default()).finished);
    // In the new one, init containers run again.
    let sandbox = Sandbox { id: "t".into(), attempt: 1, ready: true, created_at: 2, ips: Vec::new() };
    lost.sandboxes.insert(0, sandbox);
    assert_eq!(plan(&whole("Always"), &lost, &Known::default()).start, ["init"]);
}

#[test]
fn ephemeral_containers_start_once() {
    let shape = shape(json!({ "containers": [{ "name": "app" }], "ephemeralContainers": [{ "name": "debug" }] }));
    assert_eq!(starts(&shape, vec![runs("app")], &Known::default()), ["debug"]);
    assert_eq!(starts(&shape, vec![runs("app"), ended("debug", 1)], &Known::default()), [""; 0]);
}

#[test]
fn a_hook_that_runs_holds_up_what_comes_after() {
    let shape = shape(json!({ "containers": [{ "name": "app" }, { "name": "second" }] }));
    let known = Known { starting: vec!["app-id".into()], ..Known::default() };
    assert_eq!(starts(&shape, vec![runs("app")], &known), [""; 0]);
    assert_eq!(starts(&shape, vec![runs("app")], &Known::default()), ["second"]);
}
