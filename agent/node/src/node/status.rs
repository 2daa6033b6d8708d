//! Owns the node's status: what it should be, and what must be sent to make it so. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerImage, Node, NodeCondition, NodeStatus};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::capacity::{Resources, is_native};
use super::conditions::{Health, conditions, differ};
use super::facts::{DECLARED_FEATURES, Facts};
use super::runtime::Shown;
use crate::spec::quantity::Amount;

/// What changes from time to time.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// How the node is.
    pub health: Health,
    /// What is shown of the container runtime; what is there stays when it is not known.
    pub runtime: Option<Shown>,
    /// The largest images; what is there stays when they are not known.
    pub images: Option<Vec<ContainerImage>>,
}

/// The status as it should be, and the reasons of events for what turned.
pub fn desired(facts: &Facts, now: &Now, observed: &NodeStatus, time: Timestamp) -> (NodeStatus, Vec<&'static str>) {
    let (conditions, events) = conditions(&now.health, observed.conditions.as_deref().unwrap_or_default(), time);
    let foreign = |resources: &Option<Resources>| -> Resources {
        let all = resources.iter().flatten().filter(|(name, _)| !is_native(name));
        all.map(|(name, amount)| (name.clone(), amount.clone())).collect()
    };
    // Resources that others have given the node are all for pods.
    let extended = foreign(&observed.capacity);
    let with = |own: &Resources| Some(own.clone().into_iter().chain(extended.clone()).collect());
    let runtime = now.runtime.clone().unwrap_or_else(|| runtime(observed));
    let mut info = facts.info.clone();
    info.container_runtime_version = runtime.version;
    let declared: Vec<_> = DECLARED_FEATURES.iter().map(|name: &&str| (*name).to_owned()).collect();
    let status = NodeStatus {
        addresses: Some(facts.addresses.clone()),
        allocatable: with(&facts.allocatable),
        capacity: with(&facts.capacity),
        conditions: Some(conditions),
        daemon_endpoints: Some(facts.endpoints.clone()),
        declared_features: Some(declared).filter(|declared| !declared.is_empty()),
        features: runtime.features,
        images: now.images.clone().or_else(|| observed.images.clone()),
        node_info: Some(info),
        runtime_handlers: runtime.handlers,
        ..NodeStatus::default()
    };
    (status, events)
}

/// The runtime as it was shown before.
fn runtime(observed: &NodeStatus) -> Shown {
    let version = observed.node_info.as_ref().map(|info| info.container_runtime_version.clone());
    Shown {
        version: version.unwrap_or_else(|| "containerd://Unknown".to_owned()),
        handlers: observed.runtime_handlers.clone(),
        features: observed.features.clone(),
    }
}

/// The strategic merge patch that makes the observed status the desired one: nothing when they do not
/// differ, unless it is time to show that the node lives.
pub fn patch(observed: &NodeStatus, desired: &NodeStatus, heartbeat: bool) -> Option<Value> {
    let mut patch = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            patch.insert(key.to_owned(), value);
        }
    };
    set("capacity", resources(observed.capacity.as_ref(), desired.capacity.as_ref()));
    set("allocatable", resources(observed.allocatable.as_ref(), desired.allocatable.as_ref()));
    set("nodeInfo", info(observed, desired));
    set("daemonEndpoints", changed(observed.daemon_endpoints.as_ref(), desired.daemon_endpoints.as_ref()));
    set("features", changed(observed.features.as_ref(), desired.features.as_ref()));
    set("images", changed(some(&observed.images), some(&desired.images)));
    set("runtimeHandlers", changed(some(&observed.runtime_handlers), some(&desired.runtime_handlers)));
    set("declaredFeatures", changed(some(&observed.declared_features), some(&desired.declared_features)));
    // Merged by type, of which there may be several: replaced as a whole.
    set("addresses", changed(some(&observed.addresses), some(&desired.addresses)).map(replaced));
    if patch.is_empty() && !heartbeat && !conditions_differ(observed, desired) {
        return None;
    }
    patch.insert("conditions".to_owned(), json!(desired.conditions));
    Some(json!({ "status": patch }))
}

/// Whether the machine was started anew since the observed status was written.
pub fn rebooted(observed: &Node, facts: &Facts) -> bool {
    let info = observed.status.as_ref().and_then(|status| status.node_info.as_ref());
    info.is_some_and(|info| !info.boot_id.is_empty() && info.boot_id != facts.info.boot_id)
}

fn changed<T: Serialize + PartialEq>(observed: Option<&T>, desired: Option<&T>) -> Option<Value> {
    (observed != desired).then(|| json!(desired))
}

/// A list with something in it; the API may write an empty one or none.
fn some<T>(list: &Option<Vec<T>>) -> Option<&Vec<T>> {
    list.as_ref().filter(|list| !list.is_empty())
}

fn replaced(list: Value) -> Value {
    let Value::Array(mut list) = list else { return list };
    list.push(json!({ "$patch": "replace" }));
    Value::Array(list)
}

fn info(observed: &NodeStatus, desired: &NodeStatus) -> Option<Value> {
    let mut value = changed(observed.node_info.as_ref(), desired.node_info.as_ref())?;
    let swap = |status: &NodeStatus| status.node_info.as_ref().is_some_and(|info| info.swap.is_some());
    if swap(observed) && !swap(desired) {
        value["swap"] = Value::Null;
    }
    Some(value)
}

/// Amounts that differ, and `null` for what is to go. One amount can be written in many ways.
fn resources(observed: Option<&Resources>, desired: Option<&Resources>) -> Option<Value> {
    let empty = Resources::new();
    let (observed, desired) = (observed.unwrap_or(&empty), desired.unwrap_or(&empty));
    let names: BTreeSet<_> = observed.keys().chain(desired.keys()).collect();
    let differing = names.into_iter().filter(|name| {
        let amount = |resources: &Resources| resources.get(*name).map(Amount::of);
        amount(observed) != amount(desired)
    });
    let values: Map<_, _> = differing.map(|name| (name.clone(), json!(desired.get(name)))).collect();
    (!values.is_empty()).then_some(Value::Object(values))
}

fn conditions_differ(observed: &NodeStatus, desired: &NodeStatus) -> bool {
    let find = |kind: &str| -> Option<&NodeCondition> {
        observed.conditions.iter().flatten().find(|condition| condition.type_ == kind)
    };
    desired.conditions.iter().flatten().any(|wanted| find(&wanted.type_).is_none_or(|before| differ(before, wanted)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{NodeAddress, NodeDaemonEndpoints, NodeSystemInfo};
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    /// A small node.
    pub fn facts() -> Facts {
        let resources = |memory: &str| Resources::from([("memory".to_owned(), Quantity(memory.to_owned()))]);
        Facts {
            info: NodeSystemInfo { boot_id: "one".to_owned(), ..NodeSystemInfo::default() },
            addresses: vec![NodeAddress { type_: "InternalIP".to_owned(), address: "10.0.0.1".to_owned() }],
            endpoints: NodeDaemonEndpoints::default(),
            capacity: resources("1Gi"),
            allocatable: resources("924Mi"),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn first() -> NodeStatus {
        desired(&facts(), &Now::default(), &NodeStatus::default(), at(1)).0
    }

    #[test]
    fn nothing_is_sent_when_nothing_differs() {
        let mut observed = first();
        // As the API may write it.
        observed.capacity.as_mut().unwrap().insert("memory".to_owned(), Quantity("1024Mi".to_owned()));
        observed.images = Some(Vec::new());
        let (wanted, events) = desired(&facts(), &Now::default(), &observed, at(9));
        assert_eq!(patch(&observed, &wanted, false), None);
        assert!(events.is_empty());
        let sent = patch(&observed, &wanted, true).unwrap();
        assert_eq!(sent["status"].as_object().unwrap().keys().collect::<Vec<_>>(), ["conditions"]);
        assert_eq!(sent["status"]["conditions"][0]["lastHeartbeatTime"], "1970-01-01T00:00:09Z");
        assert_eq!(sent["status"]["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:01Z");
    }

    #[test]
    fn resources_of_others_are_for_pods_and_go_with_them() {
        let mut observed = first();
        let foreign = || ("example.com/gpu".to_owned(), Quantity("5".to_owned()));
        observed.capacity.as_mut().unwrap().extend([foreign()]);
        let (wanted, _) = desired(&facts(), &Now::default(), &observed, at(9));
        let sent = patch(&observed, &wanted, false).unwrap();
        assert_eq!(sent["status"]["allocatable"], json!({ "example.com/gpu": "5" }));
        assert_eq!(sent["status"].get("capacity"), None);
        let mut observed = first();
        observed.allocatable.as_mut().unwrap().extend([foreign()]);
        let (wanted, _) = desired(&facts(), &Now::default(), &observed, at(9));
        let sent = patch(&observed, &wanted, false).unwrap();
        assert_eq!(sent["status"]["allocatable"], json!({ "example.com/gpu": null }));
    }

    #[test]
    fn addresses_are_replaced_and_conditions_of_others_are_left_alone() {
        let mut observed = first();
        observed.addresses.as_mut().unwrap()[0].address = "10.0.0.9".to_owned();
        let other = NodeCondition { type_: "NetworkUnavailable".to_owned(), ..NodeCondition::default() };
        observed.conditions.as_mut().unwrap().push(other);
        let (wanted, _) = desired(&facts(), &Now::default(), &observed, at(9));
        let sent = patch(&observed, &wanted, false).unwrap();
        assert_eq!(sent["status"]["addresses"][1], json!({ "$patch": "replace" }));
        assert_eq!(sent["status"]["conditions"].as_array().unwrap().len(), 4);
    }

    #[test]
    fn what_is_shown_of_the_runtime_stays_while_it_is_away() {
        let runtime = |version: &str| Some(Shown { version: version.to_owned(), ..Shown::default() });
        let now = |runtime| Now { runtime, ..Now::default() };
        let (observed, _) = desired(&facts(), &now(runtime("containerd://1")), &NodeStatus::default(), at(1));
        let (wanted, _) = desired(&facts(), &now(None), &observed, at(2));
        assert_eq!(patch(&observed, &wanted, false), None);
        let (wanted, _) = desired(&facts(), &now(runtime("containerd://2")), &observed, at(2));
        let sent = patch(&observed, &wanted, false).unwrap();
        assert_eq!(sent["status"]["nodeInfo"]["containerRuntimeVersion"], "containerd://2");
    }

    #[test]
    fn a_reboot_is_seen_by_the_boot_id() {
        let node = |status| Node { status, ..Node::default() };
        assert!(!rebooted(&node(None), &facts()));
        assert!(!rebooted(&node(Some(first())), &facts()));
        let mut old = first();
        old.node_info.as_mut().unwrap().boot_id = "zero".to_owned();
        assert!(rebooted(&node(Some(old)), &facts()));
    }
}
