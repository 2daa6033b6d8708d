//! Owns the fixed part of the table: its hooks, and the collections that Services fill. Pure.

use std::fmt::Write;

use super::super::family::Family;
use super::super::nft::Existing;
use super::rules::{Collection, Here, MARK, MASQUERADE};

/// The table's name, in both families.
pub(in super::super) const TABLE: &str = "keelson-services";

/// The chains that are there without any Service; hooks where they have one.
const CHAINS: [(&str, &str); 10] = [
    ("sources-prerouting", "type filter hook prerouting priority -110;"),
    ("sources-output", "type filter hook output priority -110;"),
    ("prerouting", "type nat hook prerouting priority -100;"),
    ("output", "type nat hook output priority -100;"),
    ("postrouting", "type nat hook postrouting priority 100;"),
    ("input", "type filter hook input priority 0;"),
    ("forward", "type filter hook forward priority 0;"),
    ("output-filter", "type filter hook output priority 0;"),
    ("dispatch", ""),
    ("refuse", ""),
];

/// A table that is there is taken over: what is fixed is written anew, chains of Services are emptied,
/// clients stay with their endpoints. `existing` is what [`super::super::nft::existing`] found; without
/// it whatever there is goes first.
pub(super) fn script(family: Family, here: &Here, existing: Option<&Existing>) -> String {
    let mut script = format!("add table {family} {TABLE}\n");
    if existing.is_none() {
        let _ = write!(script, "delete table {family} {TABLE}\nadd table {family} {TABLE}\n");
    }
    for collection in Collection::ALL {
        let name = collection.name();
        let (kind, kind_of) = (if collection.is_set() { "set" } else { "map" }, type_of(family, collection));
        let _ = writeln!(script, "add {kind} {family} {TABLE} {name} {{ type {kind_of}; }}");
        let _ = writeln!(script, "flush {kind} {family} {TABLE} {name}");
    }
    for (chain, hook) in CHAINS {
        let hook = if hook.is_empty() { String::new() } else { format!(" {{ {hook} policy accept; }}") };
        let _ = writeln!(script, "add chain {family} {TABLE} {chain}{hook}");
        let _ = writeln!(script, "flush chain {family} {TABLE} {chain}");
    }
    for chain in existing.iter().flat_map(|existing| leftovers(existing)) {
        let _ = writeln!(script, "flush chain {family} {TABLE} {chain}");
    }
    for (chain, rule) in fixed(family, here) {
        let _ = writeln!(script, "add rule {family} {TABLE} {chain} {rule}");
    }
    script
}

/// The chains of Services in a table that is there already.
pub(super) fn leftovers(existing: &Existing) -> impl Iterator<Item = &String> {
    existing.chains.iter().filter(|chain| !CHAINS.iter().any(|(fixed, _)| fixed == chain))
}

fn type_of(family: Family, collection: Collection) -> String {
    let address = family.address_type();
    match collection {
        Collection::ClusterIps => address.to_owned(),
        Collection::Hairpin => format!("{address} . {address}"),
        Collection::Services | Collection::Refused | Collection::Sources => {
            format!("{address} . inet_proto . inet_service : verdict")
        }
        Collection::NodePorts | Collection::RefusedNodePorts => "inet_proto . inet_service : verdict".to_owned(),
    }
}

fn fixed(family: Family, here: &Here) -> Vec<(&'static str, String)> {
    let at = format!("{family} daddr . meta l4proto . th dport");
    let node = format!("{family} daddr != {} meta l4proto . th dport", family.loopback());
    let mut rules = vec![
        ("sources-prerouting", format!("ct state new {at} vmap @sources")),
        ("sources-output", format!("ct state new {at} vmap @sources")),
        ("prerouting", "jump dispatch".to_owned()),
        ("output", "jump dispatch".to_owned()),
    ];
    // Who comes from outside goes back the way it came, wherever the endpoint is.
    let pods: Vec<_> =
        here.pods.iter().filter(|pods| Family::of_net(pods) == family).map(ToString::to_string).collect();
    if !pods.is_empty() {
        let outside = format!("{family} saddr != {{ {} }} {family} daddr @cluster-ips {MARK}", pods.join(", "));
        rules.push(("dispatch", outside));
    }
    rules.extend([
        ("dispatch", format!("{at} vmap @services")),
        ("dispatch", format!("fib daddr type local {node} vmap @nodeports")),
        (
            "postrouting",
            format!("meta mark and {MASQUERADE} != 0 meta mark set meta mark xor {MASQUERADE} masquerade fully-random"),
        ),
        ("postrouting", format!("ct status dnat {family} saddr . {family} daddr @hairpin masquerade fully-random")),
        ("input", format!("ct state new {node} vmap @refused-nodeports")),
        ("input", format!("ct state new {at} vmap @refused")),
        // A packet that fits no connection would go on with the endpoint's address instead of the
        // Service's, and its receiver would end the connection.
        ("forward", "ct state invalid meta l4proto tcp drop".to_owned()),
    ]);
    for chain in ["forward", "output-filter"] {
        rules.push((chain, format!("ct state new {at} vmap @refused")));
        // Whatever still goes to a Service's address found no port of it.
        rules.push((chain, format!("ct state new {family} daddr @cluster-ips goto refuse")));
    }
    rules.push(("refuse", "meta l4proto tcp reject with tcp reset".to_owned()));
    rules.push(("refuse", "reject".to_owned()));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_there_keeps_its_clients() {
        let here = Here { pods: vec!["10.244.1.0/24".parse().unwrap()], ..Here::default() };
        let existing = Existing {
            chains: vec!["dispatch".into(), "cluster/d/web/tcp/80".into()],
            sets: vec!["affinity/60/d/web/tcp/80/10.0.0.1/80".into()],
        };
        let text = script(Family::V4, &here, Some(&existing));
        assert!(!text.contains("delete table"));
        assert!(text.contains("flush chain ip keelson-services cluster/d/web/tcp/80\n"));
        assert!(text.contains("flush map ip keelson-services services\n"));
        assert!(!text.contains("affinity/"));
        assert!(text.contains("dispatch ip saddr != { 10.244.1.0/24 } ip daddr @cluster-ips meta mark set"));
    }

    #[test]
    fn without_knowing_what_is_there_it_goes_first() {
        let text = script(Family::V6, &Here::default(), None);
        let start =
            "add table ip6 keelson-services\ndelete table ip6 keelson-services\nadd table ip6 keelson-services\n";
        assert!(text.starts_with(start));
        assert!(text.contains(
            "add map ip6 keelson-services services { type ipv6_addr . inet_proto . inet_service : verdict; }"
        ));
        assert!(!text.contains("saddr !="));
    }
}
