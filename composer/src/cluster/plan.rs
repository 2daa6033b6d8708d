//! Owns what a cluster is made of before there is any of it: names, roles, addresses, cards and ports.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use keelson_qemu::machine::Segment;
use serde::{Deserialize, Serialize};

/// The most nodes that the addresses have room for.
pub const MOST_NODES: u32 = 200;
/// The length of the prefix of the cluster's network.
pub const PREFIX: u8 = 24;
/// The last byte of the master's address, and of the first node's.
const MASTER: u8 = 2;
const FIRST_NODE: u8 = 11;
/// Ports of this machine that a cluster may take: below those that the kernel gives to whoever asks for any.
const PORTS: std::ops::Range<u16> = 20000..32000;

/// What a machine is to its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It runs the control plane, and is a node for pods that tolerate a master.
    Master,
    /// It runs pods.
    Node,
}

impl Role {
    /// The word a person sees.
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Node => "node",
        }
    }
}

/// One machine of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// Its hostname, which is also the node's name: `keelson-node1`.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its address on the cluster's network.
    pub address: Ipv4Addr,
    /// The card on that network.
    pub mac: String,
    /// MiB.
    pub memory: u32,
    /// Virtual CPUs.
    pub cpus: u32,
    /// The port of 127.0.0.1 that leads to its SSH, once it is on.
    pub ssh_port: Option<u16>,
    /// The port of 127.0.0.1 that leads to its API server, of a master that is on.
    pub api_port: Option<u16>,
}

/// The sizes asked for.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// How many nodes.
    pub nodes: u32,
    /// MiB of each node.
    pub memory: u32,
    /// MiB of the master.
    pub master_memory: u32,
    /// Virtual CPUs of each node.
    pub cpus: u32,
    /// Virtual CPUs of the master.
    pub master_cpus: u32,
}

/// The machines of a cluster, the master first.
pub fn machines(cluster: &str, sizes: Sizes) -> Result<Vec<Machine>> {
    check_name(cluster)?;
    ensure!(sizes.nodes <= MOST_NODES, "a cluster has room for {MOST_NODES} nodes");
    let machine = |name: String, role, last: u8, memory, cpus| Machine {
        name,
        role,
        address: Ipv4Addr::new(10, 77, 0, last),
        mac: format!("52:54:00:4b:00:{last:02x}"),
        memory,
        cpus,
        ssh_port: None,
        api_port: None,
    };
    let nodes = (0..sizes.nodes).map(|index| {
        let last = u8::try_from(u32::from(FIRST_NODE) + index).unwrap_or(u8::MAX);
        machine(format!("{cluster}-node{}", index + 1), Role::Node, last, sizes.memory, sizes.cpus)
    });
    let name = format!("{cluster}-master");
    let master = machine(name, Role::Master, MASTER, sizes.master_memory, sizes.master_cpus);
    Ok(std::iter::once(master).chain(nodes).collect())
}

/// A cluster's name begins hostnames, and is a folder's.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = name.bytes().all(allowed)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.len() <= 40;
    ensure!(good, "`{name}` is no name of a cluster: a-z, 0-9 and `-`, beginning with a letter, at most 40 characters");
    Ok(())
}

/// What tells a cluster's network from others on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Network {
    /// The multicast group that frames go to, on the loopback interface.
    pub group: Ipv4Addr,
    /// Its UDP port.
    pub port: u16,
}

impl Network {
    /// The machine's card on it.
    pub fn card(&self, machine: &Machine) -> Segment {
        Segment { group: self.group, port: self.port, mac: machine.mac.clone() }
    }
}

/// A network that no other cluster has, from random bytes.
pub fn network(random: [u8; 4], taken: &[Network]) -> Network {
    let group = Ipv4Addr::new(230, 77, random[0], random[1]);
    let used: Vec<u16> = taken.iter().map(|other| other.port).collect();
    Network { group, port: port([random[2], random[3]], &used) }
}

/// A port that is not taken, from random bytes.
pub fn port(random: [u8; 2], taken: &[u16]) -> u16 {
    let first = u16::from_le_bytes(random) % (PORTS.end - PORTS.start);
    let mut candidates = (first..PORTS.end - PORTS.start).chain(0..first).map(|offset| PORTS.start + offset);
    candidates.find(|port| !taken.contains(port)).unwrap_or(PORTS.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { nodes: 2, memory: 1024, master_memory: 2048, cpus: 1, master_cpus: 2 };

    #[test]
    fn a_cluster_is_a_master_and_its_nodes() {
        let machines = machines("keelson", SIZES).unwrap();
        let names: Vec<&str> = machines.iter().map(|machine| &*machine.name).collect();
        assert_eq!(names, ["keelson-master", "keelson-node1", "keelson-node2"]);
        let addresses: Vec<String> = machines.iter().map(|machine| machine.address.to_string()).collect();
        assert_eq!(addresses, ["10.77.0.2", "10.77.0.11", "10.77.0.12"]);
        assert_eq!((&*machines[0].mac, &*machines[2].mac), ("52:54:00:4b:00:02", "52:54:00:4b:00:0c"));
        assert_eq!((machines[0].memory, machines[1].memory), (2048, 1024));
        assert_eq!((machines[0].cpus, machines[1].cpus), (2, 1));
    }

    #[test]
    fn every_address_and_card_is_another() {
        let machines = machines("c", Sizes { nodes: MOST_NODES, ..SIZES }).unwrap();
        let all: std::collections::HashSet<_> =
            machines.iter().map(|machine| (machine.address, &machine.mac)).collect();
        assert_eq!(all.len(), machines.len());
        assert!(super::machines("c", Sizes { nodes: MOST_NODES + 1, ..SIZES }).is_err());
    }

    #[test]
    fn names_are_parts_of_hostnames() {
        assert!(check_name("a-1").is_ok());
        for wrong in ["", "A", "1a", "a-", "../a", "a.b", &"a".repeat(41)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn networks_and_ports_are_not_shared() {
        let one = network([1, 2, 3, 4], &[]);
        assert!(one.group.is_multicast() && PORTS.contains(&one.port));
        let two = network([1, 2, 3, 4], std::slice::from_ref(&one));
        assert_ne!(one.port, two.port);
        assert_eq!(port([0xff, 0xff], &[]), port([0xff, 0xff], &[1]));
    }
}
