//! Owns what a host that is a cluster's master is told: `/etc/keelson/master.toml`, which `keelctl
//! provision` writes and `keeld-master` reads, and the secrets that come beside it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::strict::{Problem, Source, parse};

/// The keys of the file.
const KEYS: [&str; 6] = ["address", "names", "pod-network", "service-network", "dns", "dns-clients"];

/// The file's content, without a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MasterConfig {
    /// Where nodes reach the API server; the address on the way to the rest of the world when it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Further names and addresses of the API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Addresses of pods, of which each node gets a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_network: Option<String>,
    /// Addresses of Services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_network: Option<String>,
    /// Whether the master answers the cluster's DNS, which it does when it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<bool>,
    /// Networks that may ask it besides private ones, the pods and the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_clients: Vec<String>,
}

impl MasterConfig {
    /// Reads the file.
    pub fn read(source: &Source) -> Result<Self, Problem> {
        parse(source, &KEYS)
    }
}

/// Where pods and Services are when nobody tells.
const PODS: &str = "10.244.0.0/16";
const SERVICES: &str = "10.96.0.0/12";

/// The networks of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks {
    /// Addresses of pods.
    pub pods: IpNet,
    /// Addresses of Services.
    pub services: IpNet,
    /// Where pods find the cluster's DNS: the tenth address of the Services, as everywhere. None without one.
    pub dns: Option<IpAddr>,
}

impl Networks {
    /// Checks them, with their defaults, for a cluster whose master is at `address`, where that is known.
    pub fn new(pods: Option<&str>, services: Option<&str>, address: Option<IpAddr>, dns: bool) -> Result<Self, String> {
        let pods = network(pods.unwrap_or(PODS), "pod-network")?;
        let services = network(services.unwrap_or(SERVICES), "service-network")?;
        if pods.contains(&services) || services.contains(&pods) {
            return Err(format!("pod-network {pods} and service-network {services} overlap"));
        }
        if let Some((address, taken)) = address.and_then(|address| {
            Some((address, [pods, services].into_iter().find(|network| network.contains(&address))?))
        }) {
            return Err(format!(
                "the master's own address {address} is in {taken}, whose addresses are for pods or Services"
            ));
        }
        let server = tenth(&services);
        if dns && server.is_none() {
            return Err(format!(
                "service-network: {services} has no tenth address, which the cluster's DNS has; make it larger, or say \
                 `dns: false`"
            ));
        }
        Ok(Self { pods, services, dns: server.filter(|_| dns) })
    }
}

/// Reads a network that is told by `key`.
pub fn network(text: &str, key: &str) -> Result<IpNet, String> {
    let network: Result<IpNet, _> = text.parse();
    network.map(|network| network.trunc()).map_err(|_| format!("{key}: `{text}` is no network, like {PODS}"))
}

/// The tenth address of a network.
fn tenth(network: &IpNet) -> Option<IpAddr> {
    let address = match network.network() {
        IpAddr::V4(first) => IpAddr::from(u32::from(first).checked_add(10)?.to_be_bytes()),
        IpAddr::V6(first) => IpAddr::from(u128::from(first).checked_add(10)?.to_be_bytes()),
    };
    network.contains(&address).then_some(address)
}

/// Secrets that user-data brings; files that are forgotten with the boot.
#[derive(Debug, Clone)]
pub struct Brought {
    folder: PathBuf,
}

impl Brought {
    /// Those below `run`, which is /run/keelson.
    pub fn below(run: &Path) -> Self {
        Self { folder: run.join("master") }
    }

    /// The token that nodes join by.
    pub fn token(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// The certificate of the cluster's authority, PEM.
    pub fn ca_certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Its key, PEM.
    pub fn ca_key(&self) -> PathBuf {
        self.folder.join("ca.key")
    }
}
