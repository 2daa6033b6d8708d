//! Owns the kernel settings that packets of pods need.

use std::fs;
use std::path::PathBuf;

/// Has the kernel forward packets of these families. `uplink` is the link to the world: where it takes
/// its IPv6 routes from a router, a host that forwards would not any more.
pub(super) fn forward(v4: bool, v6: bool, uplink: Option<&str>) {
    if v4 {
        set("net/ipv4/ip_forward", "1");
    }
    if v6 {
        let accept = uplink.map(|link| format!("net/ipv6/conf/{link}/accept_ra"));
        if let Some(accept) = accept.filter(|name| get(name).as_deref() == Some("1")) {
            set(&accept, "2");
        }
        set("net/ipv6/conf/all/forwarding", "1");
    }
}

/// How connections of Services are remembered, as kube-proxy has it: half-closed ones of a client that
/// takes its time for an hour, idle ones for a day, and enough of them.
pub(super) fn connections() {
    const MOST: u32 = 131_072;
    let all = "net/netfilter/nf_conntrack_max";
    let few = get(all).and_then(|most| most.parse().ok()).is_some_and(|most: u32| most < MOST);
    let most = MOST.to_string();
    let timeouts = [
        ("net/netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
        ("net/netfilter/nf_conntrack_tcp_timeout_established", "86400"),
    ];
    for (name, value) in timeouts.into_iter().chain(few.then_some((all, most.as_str()))) {
        // In a network namespace some are not to be changed, and all works without.
        if let Err(error) = fs::write(path(name), value) {
            tracing::debug!(%error, "cannot set {name} to {value}");
        }
    }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name)
}

fn get(name: &str) -> Option<String> {
    fs::read_to_string(path(name)).ok().map(|value| value.trim().to_owned())
}

fn set(name: &str, value: &str) {
    if get(name).as_deref() == Some(value) {
        return;
    }
    if let Err(error) = fs::write(path(name), value) {
        tracing::warn!(%error, "cannot set {name} to {value}, which pods need to reach others");
    }
}
