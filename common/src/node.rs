//! Owns what the node of a host tells `keelctl`: the one document that goes between `keeld-node`, which
//! writes it, and `keelctl`, which reads it and may be of another version.

use serde::{Deserialize, Serialize};

/// What the node tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// `joining` or `joined`; for keelctl alone also `absent` and `stopped`.
    pub state: String,
    /// The node's name.
    pub name: String,
    /// The API server.
    pub server: String,
    /// The agent's version.
    pub version: String,
    /// The node's addresses.
    pub addresses: Vec<String>,
    /// What is in the way of joining.
    pub problem: Option<String>,
    /// Whether the cluster takes the node for ready.
    pub ready: Option<bool>,
    /// Why it is not.
    pub message: Option<String>,
    /// Whether no new pods come here.
    pub cordoned: bool,
    /// The node's certificate.
    pub certificate: Option<Lasting>,
    /// The kubelet API's.
    pub serving_certificate: Option<Lasting>,
    /// How many pods there are.
    pub pods: usize,
}

/// How long a certificate holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lasting {
    /// From when.
    pub not_before: String,
    /// Until when.
    pub not_after: String,
}
