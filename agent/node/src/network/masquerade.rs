//! Owns the table that lets pods reach what is outside of the cluster: behind the node's address,
//! since nobody there knows the way to a pod. Pods see each other's own addresses. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;

use ipnet::IpNet;

use super::family::Family;

/// The table's name, in both families.
pub(super) const TABLE: &str = "keelson-pods";

/// The table of one family, as one transaction; nothing where pods have no address of the family.
/// `cluster` is the networks of all pods known; with `complete` it is all there are, else what an
/// earlier run knew of stays.
pub(super) fn script(family: Family, own: &[IpNet], cluster: &BTreeSet<IpNet>, complete: bool) -> Option<String> {
    let of = |net: &&IpNet| Family::of_net(net) == family;
    let pods: Vec<_> = own.iter().filter(of).map(ToString::to_string).collect();
    if pods.is_empty() {
        return None;
    }
    // Of a network within another only the larger one is named.
    let known: Vec<IpNet> = own.iter().chain(cluster).filter(of).map(IpNet::trunc).collect();
    let known: Vec<_> = IpNet::aggregate(&known).iter().map(ToString::to_string).collect();
    let kind = family.address_type();
    let mut script = format!("add table {family} {TABLE}\n");
    let _ = writeln!(script, "add set {family} {TABLE} cluster {{ type {kind}; flags interval; auto-merge; }}");
    if complete {
        let _ = writeln!(script, "flush set {family} {TABLE} cluster");
    }
    let hook = "type nat hook postrouting priority 100; policy accept;";
    let _ = writeln!(script, "add element {family} {TABLE} cluster {{ {} }}", known.join(", "));
    let _ = writeln!(script, "add chain {family} {TABLE} postrouting {{ {hook} }}");
    let _ = writeln!(script, "flush chain {family} {TABLE} postrouting");
    let _ = writeln!(
        script,
        "add rule {family} {TABLE} postrouting {family} saddr {{ {} }} {family} daddr != @cluster masquerade fully-random",
        pods.join(", ")
    );
    Some(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_not_hidden_from_each_other() {
        let own = ["10.244.1.0/24".parse().unwrap()];
        let cluster = BTreeSet::from(["10.244.0.0/24".parse().unwrap(), "10.244.1.0/24".parse().unwrap()]);
        let text = script(Family::V4, &own, &cluster, true).unwrap();
        assert!(
            text.contains("flush set ip keelson-pods cluster\nadd element ip keelson-pods cluster { 10.244.0.0/23 }\n")
        );
        assert!(text.ends_with("ip saddr { 10.244.1.0/24 } ip daddr != @cluster masquerade fully-random\n"));
        assert_eq!(script(Family::V6, &own, &cluster, true), None);
    }

    #[test]
    fn before_all_nodes_are_known_none_is_forgotten() {
        let own = ["10.244.1.0/24".parse().unwrap()];
        let text = script(Family::V4, &own, &BTreeSet::new(), false).unwrap();
        assert!(!text.contains("flush set"));
        assert!(text.contains("cluster { 10.244.1.0/24 }"));
    }
}
