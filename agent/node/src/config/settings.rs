//! Owns [`Settings`], the validated configuration that everything else sees.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{CaHash, Token};

/// Who makes cgroups: systemd on a host, the agent itself where tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupDriver {
    /// Slices and scopes by way of systemd.
    Systemd,
    /// Folders below /sys/fs/cgroup, v1 or v2.
    Cgroupfs,
}

/// A taint the node registers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, which may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// By what this machine joins; what is not needed once it has a certificate.
#[derive(Debug, Clone, Default)]
pub struct Join {
    /// The bootstrap token.
    pub token: Option<Token>,
    /// The file that was to have it, where there is none: who joins looks again.
    pub token_file: Option<PathBuf>,
    /// Of the authority's key one of these is the hash.
    pub ca_hashes: Vec<CaHash>,
    /// The authority's certificate itself, PEM.
    pub ca: Option<String>,
    /// The file that was to have it, where there is none: who joins looks again.
    pub ca_file: Option<PathBuf>,
    /// A kubeconfig, of this node or to bootstrap with.
    pub kubeconfig: Option<PathBuf>,
    /// Whether a node of this name may be taken over from another machine that is ready.
    pub replace: bool,
}

/// The validated configuration of the node.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The API server, `https://HOST:PORT`.
    pub server: String,
    /// The node's name.
    pub name: String,
    /// Its addresses, the first being the one that pods with the host's network have; never empty.
    pub addresses: Vec<IpAddr>,
    /// What is kept: `pods/UID/...` with volumes, `pki/`.
    pub root: PathBuf,
    /// What a boot forgets.
    pub run: PathBuf,
    /// Where containers log: `NAMESPACE_POD_UID/CONTAINER/COUNT.log`; the CRI's folder, as kubelet's.
    pub logs: PathBuf,
    /// containerd's socket, CRI and its own API.
    pub containerd: PathBuf,
    /// Where the CNI looks for its configuration.
    pub cni_conf: PathBuf,
    /// Where pods that need no API server are described.
    pub static_pods: PathBuf,
    /// The port of the kubelet API.
    pub port: u16,
    /// Who makes cgroups.
    pub cgroup_driver: CgroupDriver,
    /// The cgroup that all pods are below, `kubepods`; another name where two nodes share a host.
    pub cgroup_root: String,
    /// Labels to register with.
    pub labels: BTreeMap<String, String>,
    /// Taints to register with.
    pub taints: Vec<Taint>,
    /// How many pods fit.
    pub max_pods: u32,
    /// How many processes and threads one pod may have, as far as the host has that many.
    pub pod_pids_limit: u32,
    /// The DNS servers of the cluster; those of the Service kube-system/kube-dns when empty.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// The host's resolver configuration.
    pub resolv_conf: PathBuf,
    /// Of the host's resources, what pods do not get: `cpu`, `memory`, as Kubernetes writes quantities.
    pub reserved: BTreeMap<String, String>,
    /// Whether to load Services into nftables; left to kube-proxy otherwise.
    pub services: bool,
    /// Whether to set up a network for pods when nobody else does.
    pub pod_network: bool,
    /// The image of the pause container that containerd uses; never garbage-collected.
    pub pause_image: Option<String>,
    /// Files with the host's own credentials of registries, as `docker login` writes them.
    pub registry_auth: Vec<PathBuf>,
    /// How often volumes of config maps, secrets and tokens are looked at.
    pub volume_refresh: Duration,
    /// What the cloud calls this machine: the `providerID` of the Node.
    pub provider_id: Option<String>,
    /// Below what pods are evicted, by signal as the kubelet names it (`memory.available`): a quantity
    /// or a percentage. Defaults are filled in; signals that are left out do not evict.
    pub eviction: BTreeMap<String, String>,
    /// By what this machine joins.
    pub join: Join,
}
