//! Owns [`Service`]: what of a Service of the API decides where its traffic goes.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1;

/// A label that hands a Service to somebody else.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// A label that says that nobody is to load a Service.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// A transport protocol, displayed as nft names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As the API writes it; TCP where it says nothing.
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// Its name, by which slices refer to it; empty for an only port without one.
    pub name: String,
    pub protocol: Protocol,
    pub number: u16,
    /// The port of every node, where it has one.
    pub node_port: Option<u16>,
}

/// What decides where a Service's traffic goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub ports: Vec<Port>,
    pub cluster_ips: Vec<IpAddr>,
    pub external_ips: Vec<IpAddr>,
    /// Addresses of load balancers that send packets on as they are.
    pub balancer_ips: Vec<IpAddr>,
    /// Who may come by way of a load balancer; everybody when there are none of a family.
    pub sources: Vec<IpNet>,
    /// For how many seconds a client stays with its endpoint.
    pub affinity: Option<u32>,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// Where load balancers ask whether this node has endpoints.
    pub health_port: Option<u16>,
}

impl Service {
    /// Whether it can be reached by other addresses than its cluster's.
    pub fn external(&self) -> bool {
        let node_ports = self.ports.iter().any(|port| port.node_port.is_some());
        node_ports || !self.external_ips.is_empty() || !self.balancer_ips.is_empty()
    }
}

/// What is kept of a Service; nothing of one that has no address or is somebody else's.
pub(super) fn reduce(service: &v1::Service) -> Option<Service> {
    let foreign = service.metadata.labels.iter().flatten().any(|(label, _)| label == PROXY_NAME || label == HEADLESS);
    let spec = service.spec.as_ref().filter(|_| !foreign)?;
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let cluster_ips = match &spec.cluster_ips {
        Some(all) if !all.is_empty() => parsed(all),
        _ => parsed(spec.cluster_ip.iter()),
    };
    // `None` of a headless one is no address either.
    if kind == "ExternalName" || cluster_ips.is_empty() {
        return None;
    }
    let exposed = matches!(kind, "NodePort" | "LoadBalancer") || spec.external_ips.iter().flatten().next().is_some();
    let external_local = exposed && spec.external_traffic_policy.as_deref() == Some("Local");
    let health_port = spec.health_check_node_port.filter(|_| kind == "LoadBalancer" && external_local);
    Some(Service {
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        cluster_ips,
        external_ips: parsed(spec.external_ips.iter().flatten()),
        balancer_ips: parsed(balancers(service)),
        sources: sources(spec),
        affinity: affinity(spec),
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_local,
        health_port: health_port.and_then(number),
    })
}

fn parsed<'a>(addresses: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    addresses.into_iter().filter_map(|address| address.trim().parse().ok()).collect()
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

fn port(port: &v1::ServicePort) -> Option<Port> {
    Some(Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: Protocol::parse(port.protocol.as_deref())?,
        number: number(port.port)?,
        node_port: port.node_port.and_then(number),
    })
}

fn balancers(service: &v1::Service) -> impl Iterator<Item = &String> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
    ingress.filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy")).filter_map(|ingress| ingress.ip.as_ref())
}

/// A range of everything allows everybody, as no range does.
fn sources(spec: &v1::ServiceSpec) -> Vec<IpNet> {
    let ranges = spec.load_balancer_source_ranges.iter().flatten();
    let ranges: Vec<IpNet> = ranges.filter_map(|range| range.trim().parse().ok()).collect();
    let open = |v4: bool| ranges.iter().any(|range| range.prefix_len() == 0 && range.addr().is_ipv4() == v4);
    let (open_v4, open_v6) = (open(true), open(false));
    let closed = ranges.into_iter().filter(|range| if range.addr().is_ipv4() { !open_v4 } else { !open_v6 });
    closed.map(|range| range.trunc()).collect()
}

fn affinity(spec: &v1::ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    // The API's default is three hours.
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(3 * 60 * 60);
    u32::try_from(seconds).ok().filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reduced(spec: serde_json::Value) -> Option<Service> {
        let object = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": spec,
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"ip": "192.0.2.8", "ipMode": "Proxy"}]}}});
        reduce(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn what_matters_is_kept() {
        let service = reduced(json!({
            "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"],
            "ports": [{"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053}, {"name": "web", "port": 80}],
            "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000,
            "loadBalancerSourceRanges": [" 10.1.2.3/8", "::/0"],
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        }));
        let service = service.unwrap();
        assert_eq!(service.cluster_ips.len(), 2);
        assert_eq!(service.balancer_ips, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(service.sources, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!((service.affinity, service.health_port), (Some(60), Some(31000)));
        assert!(service.external_local && !service.internal_local);
        let dns = Port { name: "dns".into(), protocol: Protocol::Udp, number: 53, node_port: Some(30053) };
        assert_eq!(service.ports[0], dns);
        assert_eq!((service.ports[1].protocol, service.ports[1].node_port), (Protocol::Tcp, None));
    }

    #[test]
    fn what_has_no_address_is_left_out() {
        assert_eq!(reduced(json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 80}]})), None);
        assert_eq!(reduced(json!({"type": "ExternalName", "externalName": "a.example"})), None);
    }

    #[test]
    fn what_somebody_else_loads_is_left_out() {
        for label in [PROXY_NAME, HEADLESS] {
            let object = json!({"metadata": {"name": "a", "labels": {label: "x"}},
                "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}});
            assert_eq!(reduce(&serde_json::from_value(object).unwrap()), None);
        }
    }

    #[test]
    fn the_external_policy_of_a_service_that_is_not_exposed_says_nothing() {
        let service = reduced(json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}],
            "externalTrafficPolicy": "Local"}));
        assert!(!service.unwrap().external_local);
    }
}
