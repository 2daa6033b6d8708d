//! Owns the list of the identities that a master needs, as data.

use super::authority::Signer;
use crate::settings::Settings;

/// Whose certificate it is, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of its files.
    pub file: &'static str,
    /// Who signs it.
    pub signer: Signer,
    /// The user that the API server takes it for.
    pub name: &'static str,
    /// That user's group.
    pub group: Option<&'static str>,
    /// Names and addresses of a server.
    pub names: Vec<String>,
    /// Whether others are spoken to with it.
    pub client: bool,
}

/// All of them.
pub fn identities(settings: &Settings) -> Vec<Identity> {
    let client = |file, signer, name, group| Identity { file, signer, name, group, names: Vec::new(), client: true };
    let loopback = || ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    vec![
        Identity {
            file: "apiserver",
            signer: Signer::Cluster,
            name: "kube-apiserver",
            group: None,
            names: settings.server_names(),
            client: false,
        },
        client("apiserver-kubelet-client", Signer::Cluster, "kube-apiserver-kubelet-client", Some("system:masters")),
        client("front-proxy-client", Signer::FrontProxy, "front-proxy-client", None),
        client("apiserver-etcd-client", Signer::Etcd, "kube-apiserver", None),
        // etcd speaks to itself.
        Identity { file: "etcd", signer: Signer::Etcd, name: "etcd", group: None, names: loopback(), client: true },
        client("admin", Signer::Cluster, "kubernetes-admin", Some("system:masters")),
        client("controller-manager", Signer::Cluster, "system:kube-controller-manager", None),
        client("scheduler", Signer::Cluster, "system:kube-scheduler", None),
        client("master", Signer::Cluster, "keelson:master", Some("system:masters")),
        client("coredns", Signer::Cluster, "keelson:coredns", None),
        // What the master itself joins its cluster by, as a node.
        client("node-bootstrap", Signer::Cluster, "keelson:master-node", Some("system:bootstrappers")),
    ]
}

/// Those that are written as a kubeconfig too.
pub const KUBECONFIGS: [&str; 6] = ["admin", "controller-manager", "scheduler", "master", "coredns", "node-bootstrap"];
