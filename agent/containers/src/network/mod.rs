//! Networks of containers: their namespaces, the default bridge by the CNI plugins, published
//! ports, links, and the files that tell a container of them.
//!
//! ```text
//! Attachment -> netns (pinned, loopback up) -> CNI ADD -> ports reserved -> nftables -> Attached
//! RUN/netns/ID           the pinned namespace
//! RUN/network/ID.json    what was attached (record): found again after a restart of the daemon
//! RUN/leases/            addresses given out, by the host-local plugin
//! table ip keelson-BRIDGE  masquerading, published ports, and what keeps the outside out
//! ```
//!
//! Everything lies below RUN or bears the bridge's name, so two daemons never touch each other's,
//! and a boot forgets it all. IPv4 only: containers get no IPv6 address but loopback's.

mod attach;
mod bridge;
pub mod check;
mod cni;
pub mod files;
mod flows;
pub mod inspect;
pub mod links;
pub mod listing;
mod netns;
pub mod ports;
mod record;
mod rules;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use bollard::models::PortMap;

use super::error::{Error, Result};
use super::options::Options;
use super::paths::Paths;

pub use bridge::Bridge;

/// What network a container is to have.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Loopback alone.
    None,
    /// The host's own.
    Host,
    /// The default bridge.
    Bridge,
    /// That of another container, by its full id.
    Container(String),
    /// The one that the containers of a declared group share, by the group's name.
    Group(String),
}

/// How the ids of groups begin; those of containers are hexadecimal.
const GROUP: &str = "group-";

/// The id that the network of a group is attached by.
pub fn group_id(name: &str) -> String {
    format!("{GROUP}{name}")
}

/// The group whose network is attached by this id.
pub fn group_name(id: &str) -> Option<&str> {
    id.strip_prefix(GROUP)
}

impl Mode {
    /// Reads Docker's `NetworkMode`; what follows `container:` may still be a name.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text.unwrap_or_default() {
            "" | "default" | "bridge" => Ok(Self::Bridge),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            other if other.starts_with("group:") => Ok(Self::Group(other["group:".len()..].to_owned())),
            other => match other.strip_prefix("container:") {
                Some("") => Err(Error::Invalid("invalid container format container:<name|id>".to_owned())),
                Some(container) => Ok(Self::Container(container.to_owned())),
                None => Err(Error::Invalid(format!(
                    "network {other} not found: the networks here are bridge, host, none and container:NAME"
                ))),
            },
        }
    }
}

/// What is asked for a container that starts.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The container's full id.
    pub id: String,
    /// Which network.
    pub mode: Mode,
    /// Ports to publish, as [`ports::requested`] gives them.
    pub ports: PortMap,
    /// The hardware address, where one is asked for.
    pub mac: Option<String>,
    /// The address, where one is asked for.
    pub ip: Option<IpAddr>,
}

/// What a container got.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Attached {
    /// Its namespace; none where it uses the host's.
    pub netns: Option<PathBuf>,
    /// Its address on the bridge.
    pub address: Option<IpAddr>,
    /// How many bits of the address name the network.
    pub prefix: u8,
    /// The bridge's own address.
    pub gateway: Option<IpAddr>,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Its ports, with the host ports that were found for them.
    pub ports: PortMap,
}

/// The networks of this host's containers.
#[derive(Debug)]
pub struct Network {
    paths: Paths,
    bridge: Bridge,
    plugins: cni::Plugins,
    /// What is attached, by container.
    records: Mutex<HashMap<String, record::Record>>,
    /// Host ports held, by container.
    held: Mutex<HashMap<String, Vec<ports::Held>>>,
    /// The table of nftables.
    table: rules::Table,
}

impl Network {
    /// Networks as `options` say, with what an earlier daemon attached.
    pub fn new(paths: Paths, options: &Options) -> Result<Self> {
        let bridge = Bridge::new(&options.bridge, &options.subnet)?;
        let records = record::read_all(&paths);
        Ok(Self {
            plugins: cni::Plugins::new(&options.cni),
            bridge,
            records: Mutex::new(records),
            held: Mutex::default(),
            table: rules::Table::default(),
            paths,
        })
    }

    /// The default bridge.
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// The container-side addresses of what is attached now: container id to what it got.
    pub fn attached(&self) -> HashMap<String, Attached> {
        self.records().iter().map(|(id, record)| (id.clone(), record.attached.clone())).collect()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<ports::Held>>> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What the container `id` got, when it is attached.
    pub fn find(&self, id: &str) -> Option<Attached> {
        self.records().get(id).map(|record| record.attached.clone())
    }
}

/// The id of the network called `name`, made of the name as Docker makes its own at random.
pub fn network_id(name: &str) -> String {
    hex::encode(<sha2::Sha256 as sha2::Digest>::digest(format!("network {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_as_docker_writes_them() {
        assert_eq!(Mode::parse(None).unwrap(), Mode::Bridge);
        assert_eq!(Mode::parse(Some("default")).unwrap(), Mode::Bridge);
        assert_eq!(Mode::parse(Some("none")).unwrap(), Mode::None);
        assert_eq!(Mode::parse(Some("host")).unwrap(), Mode::Host);
        assert_eq!(Mode::parse(Some("container:db")).unwrap(), Mode::Container("db".to_owned()));
        assert!(Mode::parse(Some("container:")).is_err());
        assert!(
            matches!(Mode::parse(Some("mine")), Err(Error::Invalid(text)) if text.starts_with("network mine not found"))
        );
    }
}
