//! Owns what a host that is a cluster's master is told: `/etc/keelson/master.toml`, which `keelctl
//! provision` writes and `keeld-master` reads, and the secrets that come beside it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

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
