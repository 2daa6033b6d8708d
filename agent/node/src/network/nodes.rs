//! Owns [`Peer`]: what of the cluster's nodes routes are made of. A Node is large; it is read into a
//! type with only the fields that matter, and reduced at once.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::watch::reads;

/// A Node as it is read.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RawNode {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    addresses: Option<Vec<Address>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

reads!(RawNode as Node);

/// A node and the pods' networks behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// Its addresses inside the cluster.
    pub addresses: Vec<IpAddr>,
    /// The addresses of its pods, one network a family.
    pub pods: Vec<IpNet>,
}

/// What is kept of a Node; nothing before it was given addresses for pods.
pub(super) fn reduce(raw: RawNode) -> Option<Peer> {
    let pods = networks(raw.spec.pod_cidrs.as_deref(), raw.spec.pod_cidr.as_deref());
    let internal = raw.status.addresses.into_iter().flatten().filter(|address| address.kind == "InternalIP");
    let addresses = internal.filter_map(|address| address.address.parse().ok()).collect();
    (!pods.is_empty()).then_some(Peer { addresses, pods })
}

/// The networks of pods of this node.
pub(super) fn own(node: &Node) -> Vec<IpNet> {
    let spec = node.spec.as_ref();
    let all = spec.and_then(|spec| spec.pod_cidrs.as_deref());
    networks(all, spec.and_then(|spec| spec.pod_cidr.as_deref()))
}

fn networks(all: Option<&[String]>, first: Option<&str>) -> Vec<IpNet> {
    let all = all.unwrap_or_default().iter().map(String::as_str);
    let mut nets: Vec<IpNet> = all.chain(first).filter_map(|net| net.parse().ok()).collect();
    // The first is written twice.
    let mut seen = std::collections::HashSet::new();
    nets.retain(|net| seen.insert(*net));
    nets
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_networks_and_addresses_are_kept() {
        let node = json!({"metadata": {"name": "b"},
            "spec": {"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.2.0/24", "fd00:2::/64"]},
            "status": {"images": [], "addresses": [{"type": "Hostname", "address": "b"},
                {"type": "ExternalIP", "address": "203.0.113.1"}, {"type": "InternalIP", "address": "192.0.2.2"}]}});
        let peer = reduce(serde_json::from_value(node).unwrap()).unwrap();
        assert_eq!(peer.addresses, ["192.0.2.2".parse::<IpAddr>().unwrap()]);
        assert_eq!(peer.pods, ["10.244.2.0/24".parse().unwrap(), "fd00:2::/64".parse::<IpNet>().unwrap()]);
    }

    #[test]
    fn a_node_without_a_network_for_pods_is_no_peer() {
        assert_eq!(reduce(serde_json::from_value(json!({"metadata": {"name": "b"}})).unwrap()), None);
    }
}
