//! Owns what went over the interfaces of the host and of pods.

use std::collections::HashMap;
use std::sync::Arc;

use super::cgroup::{self, Mounts};
use super::sample::PodSample;
use crate::config::CgroupDriver;

/// What went over an interface since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// The interfaces of the host.
pub(super) fn of_host() -> Vec<Interface> {
    std::fs::read_to_string("/proc/self/net/dev").map(|text| parse(&text)).unwrap_or_default()
}

/// The interfaces of each pod that has a network of its own, by UID: seen through a process of its sandbox.
pub(super) async fn of_pods(driver: CgroupDriver, pods: &[PodSample]) -> HashMap<String, Vec<Interface>> {
    let own = pods.iter().filter(|pod| !pod.view.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true)));
    let seen: Vec<_> = own.map(|pod| (pod.cgroup.clone(), Arc::clone(&pod.view))).collect();
    let read = move || {
        let found = seen.into_iter().filter_map(|(cgroup, view)| {
            let path = cgroup::container_path(driver, &cgroup, view.sandbox.as_deref()?);
            let process = Mounts::of_host().process(&path)?;
            let text = std::fs::read_to_string(format!("/proc/{process}/net/dev")).ok()?;
            Some((view.uid().to_owned(), parse(&text)))
        });
        found.collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// Reads /proc/net/dev, without the loopback and what leads to containers.
fn parse(text: &str) -> Vec<Interface> {
    let interface = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let name = name.trim();
        if name == "lo" || name.starts_with("veth") || name.starts_with("docker") {
            return None;
        }
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] =
            numbers[..]
        else {
            return None;
        };
        Some(Interface {
            name: name.to_owned(),
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        })
    };
    text.lines().filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes    packets errs drop\n\
            lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n\
            veth12: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        let eth0 = Interface {
            name: "eth0".into(),
            rx_bytes: 10,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 50,
            tx_packets: 6,
            tx_errors: 7,
            tx_dropped: 8,
        };
        assert_eq!(parse(text), [eth0]);
    }
}
