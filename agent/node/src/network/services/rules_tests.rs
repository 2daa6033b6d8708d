//! What Services are in nftables.

use serde_json::{Value, json};

use super::super::service::{self, Service};
use super::super::slice::tests::slice;
use super::*;

fn web(more: &Value) -> Service {
    let mut spec = json!({"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
    let status = if spec["type"] == "LoadBalancer" { status } else { json!({}) };
    let object = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": spec, "status": status});
    service::reduce(&serde_json::from_value(object).unwrap()).unwrap()
}

fn here() -> Here {
    Here {
        place: Place { node: "here".into(), zone: String::new() },
        pods: vec!["10.244.1.0/24".parse().unwrap()],
        addresses: vec!["192.0.2.1".parse().unwrap()],
    }
}

/// An endpoint on this node for an address in 10.244.1.0/24, on another one else.
fn endpoints(addresses: &[&str]) -> Value {
    let node = |address: &str| if address.starts_with("10.244.1.") { "here" } else { "there" };
    addresses.iter().map(|address| json!({"addresses": [address], "nodeName": node(address)})).collect()
}

fn made(more: Value, addresses: &[&str]) -> Rules {
    rules(Family::V4, "d/web", &web(&more), [slice(endpoints(addresses))].iter(), &here())
}

fn element(rules: &Rules, collection: Collection, key: &str) -> Option<String> {
    rules.elements.get(&(collection, key.to_owned())).cloned()
}

#[test]
fn endpoints_are_chosen_by_chance() {
    let rules = made(json!({}), &["10.244.1.5", "10.244.2.5"]);
    let chain = &rules.chains["cluster/d/web/tcp/80"];
    let expected = "meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.244.1.5 . 8080, 1 : 10.244.2.5 . 8080 }";
    assert_eq!(chain, &[expected]);
    let verdict = element(&rules, Collection::Services, "10.96.0.9 . tcp . 80");
    assert_eq!(verdict.as_deref(), Some("goto cluster/d/web/tcp/80"));
    assert!(element(&rules, Collection::ClusterIps, "10.96.0.9").is_some());
    assert!(element(&rules, Collection::Hairpin, "10.244.1.5 . 10.244.1.5").is_some());
    assert!(element(&rules, Collection::Hairpin, "10.244.2.5 . 10.244.2.5").is_none());
    assert_eq!(element(&rules, Collection::NodePorts, "tcp . 30080").as_deref(), Some("goto external/d/web/tcp/80"));
    assert_eq!(rules.chains["external/d/web/tcp/80"], [MARK, "goto cluster/d/web/tcp/80"]);
}

#[test]
fn a_service_without_endpoints_is_refused() {
    let rules = made(json!({"externalIPs": ["198.51.100.1"]}), &[]);
    assert!(rules.chains.is_empty());
    let refused = |collection, key| element(&rules, collection, key).as_deref() == Some("goto refuse");
    assert!(refused(Collection::Refused, "10.96.0.9 . tcp . 80"));
    assert!(refused(Collection::Refused, "198.51.100.1 . tcp . 80"));
    assert!(refused(Collection::RefusedNodePorts, "tcp . 30080"));
    assert!(element(&rules, Collection::NodePorts, "tcp . 30080").is_none());
}

#[test]
fn clients_stay_with_their_endpoint() {
    let sticky = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
    let rules = made(sticky, &["10.244.1.5", "10.244.2.5"]);
    let chain = &rules.chains["cluster/d/web/tcp/80"];
    let first = "ip saddr @affinity/60/d/web/tcp/80/10.244.1.5/8080 goto endpoint/d/web/tcp/80/10.244.1.5/8080";
    assert_eq!(chain[0], first);
    assert!(chain[2].starts_with("numgen random mod 2 vmap { 0 : goto endpoint/d/web/tcp/80/10.244.1.5/8080, 1 : "));
    let endpoint = &rules.chains["endpoint/d/web/tcp/80/10.244.1.5/8080"];
    assert_eq!(endpoint[0], "update @affinity/60/d/web/tcp/80/10.244.1.5/8080 { ip saddr }");
    assert_eq!(endpoint[1], "meta l4proto tcp dnat to 10.244.1.5:8080");
    assert_eq!(rules.affinities.values().collect::<Vec<_>>(), [&60, &60]);
}

#[test]
fn an_internal_local_policy_drops_what_would_leave_the_node() {
    let local = || json!({"internalTrafficPolicy": "Local", "ports": [{"name": "http", "port": 80}]});
    let rules = made(local(), &["10.244.2.5"]);
    assert_eq!(element(&rules, Collection::Refused, "10.96.0.9 . tcp . 80").as_deref(), Some("drop"));
    assert!(rules.chains.is_empty());
    let rules = made(local(), &["10.244.1.5", "10.244.2.5"]);
    assert_eq!(rules.chains["local/d/web/tcp/80"], ["meta l4proto tcp dnat to 10.244.1.5:8080"]);
    let verdict = element(&rules, Collection::Services, "10.96.0.9 . tcp . 80");
    assert_eq!(verdict.as_deref(), Some("goto local/d/web/tcp/80"));
}

#[test]
fn an_external_local_policy_keeps_the_clients_address() {
    let local = || json!({"type": "NodePort", "externalTrafficPolicy": "Local"});
    let rules = made(local(), &["10.244.1.5", "10.244.2.5"]);
    let expected = [
        "ip saddr 10.244.1.0/24 goto cluster/d/web/tcp/80",
        "fib saddr type local meta mark set meta mark or 0x4000",
        "fib saddr type local goto cluster/d/web/tcp/80",
        "goto local/d/web/tcp/80",
    ];
    assert_eq!(rules.chains["external/d/web/tcp/80"], expected);
    // Elsewhere only: this node's own traffic gets there, the world's is dropped.
    let rules = made(local(), &["10.244.2.5"]);
    assert_eq!(rules.chains["external/d/web/tcp/80"], expected[..3]);
    assert_eq!(element(&rules, Collection::RefusedNodePorts, "tcp . 30080").as_deref(), Some("drop"));
}

#[test]
fn only_allowed_sources_come_by_way_of_a_load_balancer() {
    let ranges = json!(["192.0.2.0/24", "192.0.2.0/25", "fd00::/8"]);
    let rules = made(json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges}), &["10.244.1.5"]);
    let verdict = element(&rules, Collection::Sources, "192.0.2.7 . tcp . 80");
    assert_eq!(verdict.as_deref(), Some("goto sources/d/web/tcp/80"));
    assert_eq!(rules.chains["sources/d/web/tcp/80"], ["ip saddr != { 192.0.2.0/24 } drop"]);
    let verdict = element(&rules, Collection::Services, "192.0.2.7 . tcp . 80");
    assert_eq!(verdict.as_deref(), Some("goto external/d/web/tcp/80"));
}

#[test]
fn a_family_without_an_address_has_no_rules() {
    let rules = rules(Family::V6, "d/web", &web(&json!({})), [slice(endpoints(&["10.244.1.5"]))].iter(), &here());
    assert_eq!(rules, Rules::default());
}

#[test]
fn udp_ports_are_known_with_those_who_answer() {
    let service =
        web(&json!({"ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}));
    let slices = [slice(json!([
        {"addresses": ["10.244.1.5"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["10.244.1.6"], "conditions": {"ready": false, "serving": false}},
    ]))];
    let expected = UdpPort {
        frontends: vec!["10.96.0.9:53".parse().unwrap()],
        node_port: None,
        backends: vec!["10.244.1.5:5353".parse().unwrap()],
    };
    assert_eq!(udp(&service, slices.iter()), [expected]);
}
