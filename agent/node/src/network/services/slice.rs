//! Owns [`Slice`]: what of an EndpointSlice decides where traffic goes. It is read from the API into
//! a type with only the fields that matter, and reduced at once.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::super::watch::reads;
use super::service::Protocol;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An EndpointSlice as it is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSlice {
    #[serde(default)]
    metadata: ObjectMeta,
    address_type: String,
    // The API writes null for an empty list.
    endpoints: Option<Vec<RawEndpoint>>,
    ports: Option<Vec<RawPort>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEndpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    hints: Option<RawHints>,
    node_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHints {
    for_zones: Option<Vec<Hint>>,
    for_nodes: Option<Vec<Hint>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Hint {
    name: String,
}

#[derive(Debug, Clone, Deserialize)]
struct RawPort {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i32>,
}

reads!(RawSlice as EndpointSlice);

/// Some endpoints of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    /// `NAMESPACE/NAME` of the Service.
    pub service: String,
    ports: Vec<(String, Protocol, u16)>,
    endpoints: Vec<Endpoint>,
}

/// An endpoint, at any of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Endpoint {
    address: IpAddr,
    state: State,
}

/// How an endpoint is and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    /// It takes new connections.
    pub ready: bool,
    /// It still answers, though it may be on its way out.
    pub serving: bool,
    /// It is on its way out.
    pub terminating: bool,
    /// It is on this node.
    pub local: bool,
    /// The zones and nodes it is meant for, where the API says so.
    pub hints: Option<Box<Hints>>,
}

/// Whom an endpoint is meant for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Hints {
    pub zones: Vec<String>,
    pub nodes: Vec<String>,
}

impl Slice {
    /// Its endpoints at the port of this name.
    pub fn at<'a>(&'a self, name: &str, protocol: Protocol) -> impl Iterator<Item = (SocketAddr, &'a State)> {
        let port = self.ports.iter().find(|port| port.0 == name && port.1 == protocol).map(|port| port.2);
        let endpoints = port.into_iter().flat_map(|port| self.endpoints.iter().map(move |endpoint| (endpoint, port)));
        endpoints.map(|(endpoint, port)| (SocketAddr::new(endpoint.address, port), &endpoint.state))
    }

    /// The addresses of endpoints on this node that are ready.
    pub fn ready_here(&self) -> impl Iterator<Item = IpAddr> {
        let here = self.endpoints.iter().filter(|endpoint| endpoint.state.local && endpoint.state.ready);
        here.map(|endpoint| endpoint.address)
    }
}

/// What is kept of a slice, as seen by the node of this name; nothing where it belongs to no Service.
pub(super) fn reduce(raw: RawSlice, node: &str) -> Option<Slice> {
    let name = raw.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME))?;
    let service = format!("{}/{name}", raw.metadata.namespace.as_deref().unwrap_or_default());
    if raw.address_type == "FQDN" {
        return None;
    }
    let ports = raw.ports.into_iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port?).ok()?;
        Some((port.name.unwrap_or_default(), Protocol::parse(port.protocol.as_deref())?, number))
    });
    let endpoints = raw.endpoints.into_iter().flatten().filter_map(|raw| endpoint(raw, node));
    Some(Slice { service, ports: ports.collect(), endpoints: endpoints.collect() })
}

fn endpoint(raw: RawEndpoint, node: &str) -> Option<Endpoint> {
    // All addresses of an endpoint are the same to whoever talks to it; the first is used.
    let address = raw.addresses.first()?.parse().ok()?;
    let names = |hints: Option<Vec<Hint>>| hints.into_iter().flatten().map(|hint| hint.name).collect();
    let hints = raw.hints.map(|raw| Box::new(Hints { zones: names(raw.for_zones), nodes: names(raw.for_nodes) }));
    let state = State {
        ready: raw.conditions.ready.unwrap_or(true),
        serving: raw.conditions.serving.unwrap_or(true),
        terminating: raw.conditions.terminating.unwrap_or(false),
        local: raw.node_name.as_deref() == Some(node),
        hints,
    };
    Some(Endpoint { address, state })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A slice of the Service `d/web` with a port `http` on 8080 and `dns` on 5353/UDP.
    pub fn slice(endpoints: Value) -> Slice {
        let raw = json!({"metadata": {"name": "web-1", "namespace": "d", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 5353, "protocol": "UDP"}]});
        reduce(serde_json::from_value(raw).unwrap(), "here").unwrap()
    }

    #[test]
    fn an_endpoint_is_found_at_each_of_its_ports() {
        let slice = slice(json!([
            {"addresses": ["10.0.0.1"], "nodeName": "here", "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"], "nodeName": "there", "conditions": {"ready": false, "terminating": true},
             "hints": {"forZones": [{"name": "a"}]}},
        ]));
        assert_eq!(slice.service, "d/web");
        let at = |name, protocol| slice.at(name, protocol).map(|(at, _)| at.to_string()).collect::<Vec<_>>();
        assert_eq!(at("http", Protocol::Tcp), ["10.0.0.1:8080", "10.0.0.2:8080"]);
        assert_eq!(at("dns", Protocol::Udp), ["10.0.0.1:5353", "10.0.0.2:5353"]);
        assert!(at("dns", Protocol::Tcp).is_empty());
        let states: Vec<_> = slice.at("http", Protocol::Tcp).map(|(_, state)| state).collect();
        assert!(states[0].local && states[0].ready && states[0].serving && !states[0].terminating);
        assert!(!states[1].local && !states[1].ready && states[1].serving && states[1].terminating);
        assert_eq!(states[1].hints.as_ref().unwrap().zones, ["a"]);
        assert_eq!(slice.ready_here().count(), 1);
    }

    #[test]
    fn empty_lists_may_be_null_and_names_are_no_addresses() {
        let labels = json!({SERVICE_NAME: "web"});
        let raw = json!({"metadata": {"namespace": "d", "labels": labels}, "addressType": "IPv4",
            "endpoints": null, "ports": null});
        assert!(reduce(serde_json::from_value(raw).unwrap(), "here").unwrap().endpoints.is_empty());
        let raw = json!({"metadata": {"namespace": "d", "labels": labels}, "addressType": "FQDN", "endpoints": []});
        assert_eq!(reduce(serde_json::from_value(raw).unwrap(), "here"), None);
        let raw = json!({"metadata": {"namespace": "d"}, "addressType": "IPv4", "endpoints": []});
        assert_eq!(reduce(serde_json::from_value(raw).unwrap(), "here"), None);
    }
}
