use serde_json::{Value, json};

use super::*;

fn pod(meta: Value, spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn asking(requests: Value) -> Pod {
    pod(json!({}), json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}))
}

fn node() -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": "n1", "labels": {"zone": "a"}},
        "spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"},
            {"key": "later", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}},
    }))
    .unwrap()
}

fn tolerant(mut spec: Value) -> Pod {
    spec["tolerations"] = json!([{"operator": "Exists"}]);
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    pod(json!({}), spec)
}

fn reason(pod: &Pod, others: &[&Pod]) -> Option<(String, String)> {
    decide(pod, others, Some(&node()), false).err().map(|rejection| (rejection.reason, rejection.message))
}

#[test]
fn a_pod_that_fits_is_let_in() {
    assert_eq!(reason(&tolerant(json!({})), &[]), None);
    assert_eq!(decide(&asking(json!({"cpu": "64"})), &[], None, false), Ok(()));
}

#[test]
fn more_than_there_is_does_not_fit() {
    let other = asking(json!({"cpu": "1500m", "memory": "512Mi"}));
    let (reason_, message) = reason(&asking(json!({"cpu": "501m"})), &[&other]).unwrap();
    assert_eq!(reason_, "OutOfcpu");
    assert_eq!(message, "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000");
    let (reason_, message) = reason(&asking(json!({"memory": "513Mi"})), &[&other]).unwrap();
    assert_eq!(reason_, "OutOfmemory");
    assert!(message.ends_with("requested: 537919488, used: 536870912, capacity: 1073741824"));
    let (reason_, _) = reason(&asking(json!({"cpu": "1m"})), &[&other, &other, &other]).unwrap();
    assert_eq!(reason_, "OutOfpods");
}

#[test]
fn only_resources_of_the_node_itself_must_be_known() {
    let own = json!({"containers": [{"name": "c", "resources": {"requests": {"hugepages-2Mi": "2Mi"}}}]});
    assert_eq!(reason(&tolerant(own), &[]).unwrap().0, "OutOfhugepages-2Mi");
    let theirs = json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": "1"}}}]});
    assert_eq!(reason(&tolerant(theirs), &[]), None);
}

#[test]
fn the_wrong_node_is_refused() {
    let (reason_, message) = reason(&tolerant(json!({"nodeSelector": {"zone": "b"}})), &[]).unwrap();
    assert_eq!(reason_, "NodeAffinity");
    assert_eq!(message, "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
    assert_eq!(reason(&tolerant(json!({"os": {"name": "windows"}})), &[]).unwrap().0, "PodOSNotSupported");
    let labelled = pod(json!({"labels": {"kubernetes.io/os": "windows"}}), json!({"containers": []}));
    assert_eq!(reason(&labelled, &[]).unwrap().0, "PodOSSelectorNodeLabelDoesNotMatch");
}

#[test]
fn taints_must_be_tolerated_but_by_static_pods() {
    let plain = json!({"containers": []});
    assert_eq!(reason(&pod(json!({}), plain.clone()), &[]).unwrap().0, "TaintToleration");
    let from_file = json!({"annotations": {"kubernetes.io/config.source": "file"}});
    assert_eq!(reason(&pod(from_file, plain), &[]), None);
    let with = |toleration: Value| pod(json!({}), json!({"containers": [], "tolerations": [toleration]}));
    assert_eq!(reason(&with(json!({"key": "k", "value": "v"})), &[]), None);
    assert!(reason(&with(json!({"key": "k", "value": "w"})), &[]).is_some());
    assert!(reason(&with(json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"})), &[]).is_some());
}

#[test]
fn ports_of_the_host_are_had_once() {
    let with = |port: Value| tolerant(json!({"containers": [{"name": "c", "ports": [port]}]}));
    let tcp = with(json!({"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.1"}));
    let clash = |port: Value| reason(&with(port), &[&tcp]).map(|(reason, _)| reason);
    assert_eq!(clash(json!({"containerPort": 1, "hostPort": 80})).as_deref(), Some("NodePorts"));
    assert_eq!(clash(json!({"containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1"})).as_deref(), Some("NodePorts"));
    assert_eq!(clash(json!({"containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.2"})), None);
    assert_eq!(clash(json!({"containerPort": 80, "hostPort": 80, "protocol": "UDP"})), None);
    assert_eq!(clash(json!({"containerPort": 80})), None);
}

#[test]
fn what_the_host_cannot_enforce_is_refused() {
    let pod = tolerant(json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}));
    assert_eq!(reason(&pod, &[]).unwrap().0, "AppArmor");
    assert_eq!(decide(&pod, &[], Some(&node()), true), Ok(()));
    let strict = tolerant(json!({"securityContext": {"supplementalGroupsPolicy": "Strict"}}));
    assert_eq!(reason(&strict, &[]).unwrap().0, "SupplementalGroupsPolicyNotSupported");
    let unsafe_ = tolerant(json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}));
    assert_eq!(reason(&unsafe_, &[]).unwrap().0, "SysctlForbidden");
}

#[test]
fn critical_pods_are_known() {
    assert!(is_critical(&pod(json!({"annotations": {"kubernetes.io/config.mirror": "x"}}), json!({"containers": []}))));
    assert!(is_critical(&pod(json!({}), json!({"containers": [], "priority": 2_000_000_000}))));
    assert!(!is_critical(&pod(json!({}), json!({"containers": [], "priority": 1_000_000_000}))));
}
