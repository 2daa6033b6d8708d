//! A Kubernetes cluster's control plane without a virtual machine: [`ControlPlane`] is Debian's etcd
//! and upstream's kube-apiserver, kube-controller-manager and kube-scheduler, on an address of a
//! network namespace of its own. Machines with addresses of their own can be joined to its network.
//! Nothing of Keelson is in it: it is what hosts are tested against, and kubectl is the judge.
//! [`NodeRig`] is such a machine with a containerd, which becomes a node by upstream's kubelet or by ours.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use keelson_tests::cluster::ControlPlane;
//! let cluster = ControlPlane::start()?;
//! assert_eq!(cluster.ok(&["get", "nodes", "--output=name"])?, "");
//! # Ok(()) }
//! ```
//!
//! It needs root, Debian's etcd, and what `manifests/kubernetes/build.sh` builds.

mod beside;
mod control_plane;
mod dns;
mod forward;
mod identity;
pub mod images;
mod kubeconfig;
mod node;
mod servers;
mod setup;

pub use beside::beside;
pub use control_plane::{ADDRESS, ControlPlane, TOKEN};
pub use forward::Forward;
pub use identity::{Authority, Identity, request};
pub use kubeconfig::Credentials;
pub use node::{Agent, NodeRig};

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::paths;

/// A program that `manifests/kubernetes/build.sh` builds: `control-plane`, `kubectl`.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = paths::cache().join("kubernetes").join(name);
    let built = path.exists().then_some(path);
    built.with_context(|| format!("Kubernetes' {name} is not built: run manifests/kubernetes/build.sh"))
}
