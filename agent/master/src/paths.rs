//! Owns where the master's files are.

use std::path::{Path, PathBuf};

/// The master's folder.
#[derive(Debug, Clone)]
pub struct Paths(PathBuf);

impl Paths {
    /// That folder, /var/lib/keelson/master on a host.
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// Keys and certificates.
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    /// A kubeconfig: admin, controller-manager, scheduler, master, coredns, node-bootstrap.
    pub fn kubeconfig(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.kubeconfig"))
    }

    /// What the servers' units take their variables from.
    pub fn environment(&self) -> PathBuf {
        self.0.join("environment")
    }

    /// What CoreDNS does; there is none where the master answers no DNS.
    pub fn corefile(&self) -> PathBuf {
        self.0.join("Corefile")
    }

    /// The nodes' addresses that DNS has to be told of, a line each.
    pub fn dns_nodes(&self) -> PathBuf {
        self.0.join("dns-nodes")
    }

    /// etcd's data.
    pub fn etcd(&self) -> PathBuf {
        self.0.join("etcd")
    }
}
