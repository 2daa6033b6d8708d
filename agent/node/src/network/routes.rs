//! Owns the routes to pods of other nodes: each node's networks by way of the node's address.

use std::collections::{BTreeMap, HashSet};

use ipnet::IpNet;

use super::family::Family;
use super::links::{LinkError, Links, Target, unreachable};
use super::nodes::Peer;

/// Where packets to pods go.
pub(super) type Wanted = BTreeMap<IpNet, Target>;

/// The routes of this node: to others by their addresses; to its own pods there are routes already,
/// and what is left of its networks leads nowhere rather than to a router that sends it back.
pub(super) fn wanted<'a>(own: &[IpNet], peers: impl Iterator<Item = &'a Peer>) -> Wanted {
    let mut wanted = Wanted::new();
    for peer in peers {
        for net in &peer.pods {
            let family = Family::of_net(net);
            let address = peer.addresses.iter().find(|address| Family::of(**address) == family);
            wanted.extend(address.map(|address| (net.trunc(), Target::Node(*address))));
        }
    }
    wanted.extend(own.iter().map(|net| (net.trunc(), Target::Nowhere)));
    wanted
}

/// Keeps the routes as they are wanted.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// What was said once already.
    told: HashSet<IpNet>,
}

impl Routes {
    /// Makes what is missing, removes what this node made and is not wanted; gives networks of nodes that
    /// cannot be reached directly, when that is news.
    pub async fn ensure(&mut self, wanted: &Wanted) -> Result<Vec<(IpNet, Target)>, LinkError> {
        let links = Links::open()?;
        let mut missing = wanted.clone();
        for route in links.routes().await? {
            let target = missing.get(&route.net).copied();
            if target.is_some() && target == route.target {
                missing.remove(&route.net);
            } else {
                tracing::info!(network = %route.net, "remove the route to pods");
                links.remove_route(route).await?;
            }
        }
        let mut news = Vec::new();
        for (net, target) in missing {
            match links.add_route(net, target).await {
                Ok(()) => {
                    self.told.remove(&net);
                    tracing::info!(network = %net, ?target, "pods are routed");
                }
                Err(error) if unreachable(&error) => {
                    if self.told.insert(net) {
                        news.push((net, target));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.told.retain(|net| wanted.contains_key(net));
        Ok(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(addresses: &[&str], pods: &[&str]) -> Peer {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Peer { addresses, pods: pods.iter().map(|net| net.parse().unwrap()).collect() }
    }

    #[test]
    fn each_family_goes_by_an_address_of_its_own() {
        let peers = [
            peer(&["192.0.2.2", "fd01::2"], &["10.244.2.0/24", "fd00:2::/64"]),
            peer(&["192.0.2.3"], &["10.244.3.0/24", "fd00:3::/64"]),
        ];
        let own = ["10.244.1.0/24".parse().unwrap()];
        let wanted: Vec<_> = wanted(&own, peers.iter()).into_iter().map(|(net, to)| (net.to_string(), to)).collect();
        let node = |address: &str| Target::Node(address.parse().unwrap());
        let expected = [
            ("10.244.1.0/24", Target::Nowhere),
            ("10.244.2.0/24", node("192.0.2.2")),
            ("10.244.3.0/24", node("192.0.2.3")),
            ("fd00:2::/64", node("fd01::2")),
        ];
        assert_eq!(wanted, expected.map(|(net, to)| (net.to_owned(), to)));
    }
}
