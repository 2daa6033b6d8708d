//! Owns whether a node's name is another machine's already.

use k8s_openapi::api::core::v1::Node;

use crate::config::Identifiers;

/// What a Node of our name that is there already is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// This machine, from before.
    Us,
    /// Another machine, which is not ready: it is gone, or was set up anew.
    Gone,
    /// Another machine, which is ready. Its machine id.
    Ready(String),
}

/// Whose a Node is.
pub fn holder(node: &Node, us: &Identifiers) -> Holder {
    let status = node.status.as_ref();
    let Some(info) = status.and_then(|status| status.node_info.as_ref()) else { return Holder::Gone };
    let uuid = info.system_uuid.to_lowercase();
    // Machines copied from one image have one machine id; the hardware tells them apart, where it can.
    let same = match uuid.is_empty() || us.system_uuid.is_empty() {
        true => info.machine_id == us.machine_id,
        false => uuid == us.system_uuid,
    };
    if same || info.machine_id.is_empty() {
        return Holder::Us;
    }
    let conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    match conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        true => Holder::Ready(info.machine_id.clone()),
        false => Holder::Gone,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(machine: &str, uuid: &str, ready: &str) -> Node {
        let info = json!({
            "machineID": machine, "systemUUID": uuid, "bootID": "", "kernelVersion": "", "osImage": "",
            "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "",
            "architecture": "",
        });
        let status = json!({ "nodeInfo": info, "conditions": [{ "type": "Ready", "status": ready }] });
        serde_json::from_value(json!({ "status": status })).unwrap()
    }

    #[test]
    fn hardware_tells_machines_apart() {
        let us = Identifiers { machine_id: "m1".into(), system_uuid: "u1".into() };
        assert_eq!(holder(&node("m1", "u1", "True"), &us), Holder::Us);
        assert_eq!(holder(&node("m2", "U1", "True"), &us), Holder::Us, "installed anew");
        assert_eq!(holder(&node("m1", "u2", "True"), &us), Holder::Ready("m1".into()), "copied");
        assert_eq!(holder(&node("m2", "u2", "True"), &us), Holder::Ready("m2".into()));
        for away in ["False", "Unknown"] {
            assert_eq!(holder(&node("m2", "u2", away), &us), Holder::Gone);
        }
        assert_eq!(holder(&Node::default(), &us), Holder::Gone);
        let no_hardware = Identifiers { system_uuid: String::new(), ..us };
        assert_eq!(holder(&node("m1", "u2", "True"), &no_hardware), Holder::Us);
        assert_eq!(holder(&node("m2", "u2", "True"), &no_hardware), Holder::Ready("m2".into()));
    }
}
