//! Owns what one Service is in nftables: its chains, and the elements of the table's maps and sets
//! that lead to them. Pure.
//!
//! ```text
//! services, nodeports ─▶ external/… ─▶ cluster/… or local/… ─▶ [endpoint/…, with affinity] ─▶ dnat
//!                                  └──────▲
//!                 cluster addresses ──────┘
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::super::family::Family;
use super::choose::{self, Chosen, Place};
use super::service::{Port, Protocol, Service};
use super::slice::Slice;

/// The bit of a packet's mark that has it masqueraded; kube-proxy's, which everybody leaves alone.
pub(super) const MASQUERADE: &str = "0x4000";
/// What sets it.
pub(super) const MARK: &str = "meta mark set meta mark or 0x4000";

/// Maps and sets of the table, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Collection {
    /// Addresses of the cluster's Services.
    ClusterIps,
    /// Endpoints of this node, as they talk to themselves.
    Hairpin,
    /// `address . protocol . port` to the chain that chooses an endpoint.
    Services,
    /// `protocol . port` of every node to the chain that chooses an endpoint.
    NodePorts,
    /// What goes nowhere: refused, or dropped where another node has endpoints.
    Refused,
    /// The same of node ports.
    RefusedNodePorts,
    /// Load balancers' addresses to the chain that knows who may come.
    Sources,
}

impl Collection {
    /// Each of them.
    pub const ALL: [Self; 7] = [
        Self::ClusterIps,
        Self::Hairpin,
        Self::Services,
        Self::NodePorts,
        Self::Refused,
        Self::RefusedNodePorts,
        Self::Sources,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClusterIps => "cluster-ips",
            Self::Hairpin => "hairpin",
            Self::Services => "services",
            Self::NodePorts => "nodeports",
            Self::Refused => "refused",
            Self::RefusedNodePorts => "refused-nodeports",
            Self::Sources => "sources",
        }
    }

    /// Whether it is a set; else it is a map to verdicts.
    pub fn is_set(self) -> bool {
        matches!(self, Self::ClusterIps | Self::Hairpin)
    }
}

/// An element of a collection: which, and its key as nft writes it.
pub(super) type Key = (Collection, String);

/// One Service in nftables, for one family.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Chains, each with its rules.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Elements with what they lead to; nothing in sets.
    pub elements: BTreeMap<Key, String>,
    /// Sets of clients by endpoint, with the seconds for which a client stays.
    pub affinities: BTreeMap<String, u32>,
}

/// What is known of the node that the rules are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Here {
    pub place: Place,
    /// The addresses that pods of this node have.
    pub pods: Vec<IpNet>,
    /// The node's addresses.
    pub addresses: Vec<IpAddr>,
}

/// The rules of a Service, `key` being `NAMESPACE/NAME`.
pub(super) fn rules<'a>(
    family: Family,
    key: &str,
    service: &Service,
    slices: impl Iterator<Item = &'a Slice> + Clone,
    here: &Here,
) -> Rules {
    let mut rules = Rules::default();
    // Without an address of this family none of its ports is reached by it either.
    let Some(cluster_ip) = of(family, &service.cluster_ips).next() else { return rules };
    rules.set(Collection::ClusterIps, cluster_ip.to_string());
    for port in &service.ports {
        let at = slices.clone().flat_map(|slice| slice.at(&port.name, port.protocol));
        let endpoints = choose::merged(at.filter(|(at, _)| Family::of(at.ip()) == family));
        for (at, _) in endpoints.iter().filter(|(_, state)| state.local) {
            rules.set(Collection::Hairpin, format!("{0} . {0}", at.ip()));
        }
        let chosen = choose::choose(&endpoints, &here.place);
        let id = format!("{key}/{}/{}", port.protocol, port.number);
        PortRules { rules: &mut rules, family, id, service, port, cluster_ip, chosen, here }.write();
    }
    rules
}

fn of(family: Family, addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    addresses.iter().copied().filter(move |address| Family::of(*address) == family)
}

impl Rules {
    fn set(&mut self, collection: Collection, key: String) {
        self.elements.insert((collection, key), String::new());
    }
}

struct PortRules<'a> {
    rules: &'a mut Rules,
    family: Family,
    id: String,
    service: &'a Service,
    port: &'a Port,
    cluster_ip: IpAddr,
    chosen: Chosen,
    here: &'a Here,
}

impl PortRules<'_> {
    fn write(mut self) {
        let Chosen { cluster, local, anywhere } = std::mem::take(&mut self.chosen);
        let external = self.service.external();
        if !cluster.is_empty() && (!self.service.internal_local || external) {
            self.balance("cluster", &cluster);
        }
        if !local.is_empty() && (self.service.internal_local || self.service.external_local) {
            self.balance("local", &local);
        }
        let internal = target(self.service.internal_local, &cluster, &local);
        self.internal(internal, anywhere);
        if external {
            self.external(target(self.service.external_local, &cluster, &local), anywhere);
        }
        self.sources();
    }

    fn chain(&self, kind: &str) -> String {
        format!("{kind}/{}", self.id)
    }

    fn map(&mut self, collection: Collection, key: &str, verdict: String) {
        self.rules.elements.insert((collection, key.to_owned()), verdict);
    }

    fn frontend(&self, address: IpAddr) -> String {
        format!("{address} . {} . {}", self.port.protocol, self.port.number)
    }

    fn internal(&mut self, target: Option<&str>, anywhere: bool) {
        let key = self.frontend(self.cluster_ip);
        match target {
            Some(kind) => self.map(Collection::Services, &key, format!("goto {}", self.chain(kind))),
            None => self.map(Collection::Refused, &key, refusal(anywhere).to_owned()),
        }
    }

    /// The addresses by which the world reaches it. Where there are endpoints on other nodes only,
    /// what comes from this node itself still gets there.
    fn external(&mut self, target: Option<&str>, anywhere: bool) {
        let addresses = self.service.external_ips.iter().chain(&self.service.balancer_ips);
        let addresses: Vec<_> = addresses.copied().filter(|address| Family::of(*address) == self.family).collect();
        let addresses = addresses.into_iter().map(|at| (Collection::Services, Collection::Refused, self.frontend(at)));
        let mut frontends: Vec<_> = addresses.collect();
        if let Some(port) = self.port.node_port {
            let key = format!("{} . {port}", self.port.protocol);
            frontends.push((Collection::NodePorts, Collection::RefusedNodePorts, key));
        }
        if anywhere && !frontends.is_empty() {
            let rules = self.external_rules(target);
            self.rules.chains.insert(self.chain("external"), rules);
        }
        for (reached, refused, key) in frontends {
            if anywhere {
                self.map(reached, &key, format!("goto {}", self.chain("external")));
            }
            if target.is_none() {
                self.map(refused, &key, refusal(anywhere).to_owned());
            }
        }
    }

    fn external_rules(&self, target: Option<&str>) -> Vec<String> {
        let mut rules = Vec::new();
        if self.service.external_local {
            let cluster = self.chain("cluster");
            for pods in self.here.pods.iter().filter(|pods| Family::of_net(pods) == self.family) {
                rules.push(format!("{} saddr {pods} goto {cluster}", self.family));
            }
            rules.push(format!("fib saddr type local {MARK}"));
            rules.push(format!("fib saddr type local goto {cluster}"));
        } else {
            // The endpoint may be on another node, and its answer must come back by this one.
            rules.push(MARK.to_owned());
        }
        rules.extend(target.map(|kind| format!("goto {}", self.chain(kind))));
        rules
    }

    fn sources(&mut self) {
        let nets: Vec<_> = self.service.sources.iter().filter(|net| Family::of_net(net) == self.family).collect();
        let balancers: Vec<_> = of(self.family, &self.service.balancer_ips).collect();
        if nets.is_empty() || balancers.is_empty() {
            return;
        }
        let mut allowed: Vec<String> = aggregated(&nets);
        // What goes from the node to an address that is also its own comes from that address.
        if self.here.addresses.iter().any(|address| nets.iter().any(|net| net.contains(address))) {
            let outside = balancers.iter().filter(|address| !nets.iter().any(|net| net.contains(*address)));
            allowed.extend(outside.map(ToString::to_string));
        }
        let chain = self.chain("sources");
        let rule = format!("{} saddr != {{ {} }} drop", self.family, allowed.join(", "));
        for address in balancers {
            self.map(Collection::Sources, &self.frontend(address), format!("goto {chain}"));
        }
        self.rules.chains.insert(chain, vec![rule]);
    }

    /// A chain that chooses among endpoints by chance, or sends a client where it was before.
    fn balance(&mut self, kind: &str, endpoints: &[SocketAddr]) {
        let rules = match self.service.affinity {
            None => vec![self.dnat(endpoints)],
            Some(seconds) => self.sticky(endpoints, seconds),
        };
        self.rules.chains.insert(self.chain(kind), rules);
    }

    fn dnat(&self, endpoints: &[SocketAddr]) -> String {
        let protocol = self.port.protocol;
        if let [only] = endpoints {
            return format!("meta l4proto {protocol} dnat to {only}");
        }
        let mut rule = format!(
            "meta l4proto {protocol} dnat {} addr . port to numgen random mod {} map {{ ",
            self.family,
            endpoints.len()
        );
        for (index, endpoint) in endpoints.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(rule, "{comma}{index} : {} . {}", endpoint.ip(), endpoint.port());
        }
        rule.push_str(" }");
        rule
    }

    fn sticky(&mut self, endpoints: &[SocketAddr], seconds: u32) -> Vec<String> {
        let (mut rules, mut choices) = (Vec::new(), Vec::new());
        for (index, endpoint) in endpoints.iter().enumerate() {
            // Colons are no part of names.
            let place = format!("{}/{}", endpoint.ip().to_string().replace(':', "_"), endpoint.port());
            let chain = format!("endpoint/{}/{place}", self.id);
            // A set of another duration is another set, so that it need not be changed while in use.
            let clients = format!("affinity/{seconds}/{}/{place}", self.id);
            rules.push(format!("{} saddr @{clients} goto {chain}", self.family));
            choices.push(format!("{index} : goto {chain}"));
            let update = format!("update @{clients} {{ {} saddr }}", self.family);
            self.rules.chains.insert(chain, vec![update, self.dnat(std::slice::from_ref(endpoint))]);
            self.rules.affinities.insert(clients, seconds);
        }
        rules.push(format!("numgen random mod {} vmap {{ {} }}", endpoints.len(), choices.join(", ")));
        rules
    }
}

fn target(local_only: bool, cluster: &[SocketAddr], local: &[SocketAddr]) -> Option<&'static str> {
    match local_only {
        true => (!local.is_empty()).then_some("local"),
        false => (!cluster.is_empty()).then_some("cluster"),
    }
}

/// A client is told that there is nobody; but where another node has somebody, it is not told that.
fn refusal(anywhere: bool) -> &'static str {
    if anywhere { "drop" } else { "goto refuse" }
}

/// Networks within others are no elements of their own beside them.
fn aggregated(nets: &[&IpNet]) -> Vec<String> {
    let nets: Vec<IpNet> = nets.iter().map(|net| **net).collect();
    IpNet::aggregate(&nets).iter().map(ToString::to_string).collect()
}

/// A UDP port with whoever answers at it; for [`super::flows`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UdpPort {
    /// Addresses with the port.
    pub frontends: Vec<SocketAddr>,
    /// The port of every node.
    pub node_port: Option<u16>,
    /// Those that answer.
    pub backends: Vec<SocketAddr>,
}

/// The UDP ports of a Service.
pub(super) fn udp<'a>(service: &Service, slices: impl Iterator<Item = &'a Slice> + Clone) -> Vec<UdpPort> {
    let addresses = service.cluster_ips.iter().chain(&service.external_ips).chain(&service.balancer_ips);
    let ports = service.ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let ports = ports.map(|port| {
        let at = slices.clone().flat_map(|slice| slice.at(&port.name, port.protocol));
        let backends = choose::merged(at.filter(|(_, state)| state.serving)).into_keys().collect();
        let frontends = addresses.clone().map(|address| SocketAddr::new(*address, port.number)).collect();
        UdpPort { frontends, node_port: port.node_port, backends }
    });
    ports.collect()
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
