//! Owns what a control plane is made of besides its servers: keys, certificates and kubeconfigs before
//! they start, and what machines join by once they run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::control_plane::{ADDRESS, TOKEN};
use super::identity::{self, Authority};
use super::kubeconfig::{Credentials, kubeconfig, write};
use super::servers::SERVICE_ADDRESS;

/// Makes all keys, certificates and kubeconfigs, in `folder`, of a control plane whose API is at `server`.
pub fn credentials(folder: &Path, server: &str) -> Result<Authority> {
    let pki = folder.join("pki");
    fs::create_dir(&pki)?;
    let authority = Authority::new(&pki)?;
    identity::keys(&pki, "sa")?;
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        SERVICE_ADDRESS,
        ADDRESS,
    ];
    authority.server("apiserver", &names)?;
    authority.client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters"))?;
    let ca = fs::read_to_string(&authority.identity.certificate)?;
    for (name, user, group) in [
        ("admin", "kubernetes-admin", Some("system:masters")),
        ("controller-manager", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
    ] {
        let credentials = Credentials::Certificate(authority.client(name, user, group)?);
        write(&folder.join(format!("{name}.kubeconfig")), &kubeconfig(server, &ca, &credentials))?;
    }
    Ok(authority)
}

/// The bootstrap token, and what one who has only that finds the cluster by: objects in JSON.
pub fn joining(server: &str, ca: &str) -> Result<String> {
    let (id, secret) = TOKEN.split_once('.').context("a token has two parts")?;
    let info = kubeconfig(server, ca, &Credentials::Anonymous);
    let token = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": { "name": format!("bootstrap-token-{id}"), "namespace": "kube-system" },
        "stringData": {
            "token-id": id,
            "token-secret": secret,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
        },
    });
    let info = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "cluster-info", "namespace": "kube-public" },
        "data": { "kubeconfig": info.to_string() },
    });
    Ok(json!({ "apiVersion": "v1", "kind": "List", "items": [token, info] }).to_string())
}
