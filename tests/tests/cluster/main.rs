//! The control plane that hosts are tested against, judged by kubectl, and nodes of ours in it: each test
//! has one of its own ([`keelson_tests::cluster`]).

mod joining;
mod life;
mod master_dns;
mod node_aside;
mod node_faults;
mod node_holds;
mod node_join;
mod node_services;
mod node_tools;
mod node_walk;
mod place;
mod reboot_lock;
mod scheduling;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keelson_tests::cluster::{ControlPlane, Credentials, Identity, TOKEN, program, request};
use keelson_tests::keelson::{Run, finish};
use serde_json::{Value, json};

/// Runs `kubectl WORDS` from where `command` puts it, with a kubeconfig.
fn kubectl(mut command: Command, kubeconfig: &Path, words: &[&str]) -> Result<Run> {
    finish(command.arg("--kubeconfig").arg(kubeconfig).args(words).stdin(Stdio::null()))
}

/// Runs `kubectl WORDS` in the control plane's namespace with a kubeconfig.
fn kubectl_as(cluster: &ControlPlane, kubeconfig: &Path, words: &[&str]) -> Result<Run> {
    kubectl(cluster.command(program("kubectl")?), kubeconfig, words)
}

/// Writes an object below the cluster's folder, for `kubectl --filename`.
fn object(cluster: &ControlPlane, name: &str, object: &Value) -> Result<String> {
    let path = cluster.folder().join(format!("{name}.json"));
    fs::write(&path, object.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

/// The kubeconfig of one who has only the bootstrap token.
fn bootstrapper(cluster: &ControlPlane) -> Result<PathBuf> {
    cluster.kubeconfig_for("bootstrap", &Credentials::Token(TOKEN.to_owned()))
}

/// Has the cluster sign a node's certificate, asked for with the bootstrap token as a kubelet asks;
/// gives a kubeconfig with it.
fn node(cluster: &ControlPlane, name: &str) -> Result<PathBuf> {
    let (key, pem) = request(cluster.folder(), name, &format!("system:node:{name}"), "system:nodes")?;
    let csr = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": { "name": name },
        "spec": {
            "request": STANDARD.encode(pem),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        },
    });
    let file = object(cluster, "csr", &csr)?;
    kubectl_as(cluster, &bootstrapper(cluster)?, &["create", "--filename", &file])?.expect(0)?;
    cluster.ok(&["wait", "csr", name, "--for=jsonpath={.status.certificate}", "--timeout=30s"])?;
    let signed = cluster.ok(&["get", "csr", name, "--output=jsonpath={.status.certificate}"])?;
    let certificate = cluster.folder().join(format!("{name}.crt"));
    fs::write(&certificate, STANDARD.decode(signed)?)?;
    cluster.kubeconfig_for(name, &Credentials::Certificate(Identity { key, certificate }))
}

/// Registers a node as itself, which must succeed.
fn register(cluster: &ControlPlane, name: &str, kubeconfig: &Path) -> Result<()> {
    let file = object(cluster, name, &json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } }))?;
    let made = kubectl_as(cluster, kubeconfig, &["create", "--filename", &file])?.expect(0);
    made.map(drop).with_context(|| format!("{name} cannot register"))
}
