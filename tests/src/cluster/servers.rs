//! Owns the command lines of a control plane's servers. What is not named is as upstream has it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::control_plane::ADDRESS;
use super::program;
use crate::containers::{Namespace, need};

/// The API server's port.
pub const API: u16 = 6443;
/// The scheduler's port, on loopback.
pub const SCHEDULER: u16 = 10259;
/// Addresses of Services; the first is the API server's.
pub const SERVICES: &str = "10.96.0.0/12";
/// The API server's address as pods see it.
pub const SERVICE_ADDRESS: &str = "10.96.0.1";
/// The address of the cluster's DNS, where there is one.
pub const DNS_ADDRESS: &str = "10.96.0.10";
/// Addresses of pods, of which each node gets a part.
pub const PODS: &str = "10.244.0.0/16";
/// etcd's, which nobody outside of the namespace reaches.
const ETCD: &str = "http://127.0.0.1:2379";

/// etcd with its data in `folder`.
pub fn etcd(namespace: &Namespace, folder: &Path) -> Result<Command> {
    let mut command = namespace.command(need("etcd", "etcd-server")?);
    command.arg("--data-dir").arg(folder.join("etcd"));
    command.args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD]);
    command.args(["--listen-peer-urls", "http://127.0.0.1:2380", "--logger", "zap"]);
    Ok(command)
}

/// The API server, with the keys and certificates in `pki` of `folder`.
pub fn apiserver(namespace: &Namespace, folder: &Path) -> Result<Command> {
    let mut command = server("kube-apiserver", namespace)?;
    command.args([
        format!("--advertise-address={ADDRESS}"),
        format!("--secure-port={API}"),
        format!("--etcd-servers={ETCD}"),
        format!("--service-cluster-ip-range={SERVICES}"),
    ]);
    command.args([
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--enable-bootstrap-token-auth=true",
        // Logs and exec would look up the name of the node in DNS.
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    ]);
    files(
        &mut command,
        &folder.join("pki"),
        &[
            ("client-ca-file", "ca.crt"),
            ("tls-cert-file", "apiserver.crt"),
            ("tls-private-key-file", "apiserver.key"),
            ("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
            ("kubelet-client-key", "apiserver-kubelet-client.key"),
            ("service-account-key-file", "sa.pub"),
            ("service-account-signing-key-file", "sa.key"),
        ],
    );
    Ok(command)
}

/// The controller manager; the only one of its kind, so that it needs no leader's lease.
pub fn controller_manager(namespace: &Namespace, folder: &Path) -> Result<Command> {
    let mut command = server("kube-controller-manager", namespace)?;
    command.args([format!("--cluster-cidr={PODS}"), format!("--service-cluster-ip-range={SERVICES}")]);
    command.args([
        "--allocate-node-cidrs=true",
        "--bind-address=127.0.0.1",
        "--controllers=*,bootstrap-signer-controller,token-cleaner-controller",
        // Each controller asks for an account of its own at the start: five seconds at upstream's pace.
        "--kube-api-qps=1000",
        "--kube-api-burst=1000",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
    ]);
    files(&mut command, folder, &[("kubeconfig", "controller-manager.kubeconfig")]);
    files(
        &mut command,
        &folder.join("pki"),
        &[
            ("cluster-signing-cert-file", "ca.crt"),
            ("cluster-signing-key-file", "ca.key"),
            ("root-ca-file", "ca.crt"),
            ("service-account-private-key-file", "sa.key"),
        ],
    );
    Ok(command)
}

/// The scheduler.
pub fn scheduler(namespace: &Namespace, folder: &Path) -> Result<Command> {
    let mut command = server("kube-scheduler", namespace)?;
    command.args(["--bind-address=127.0.0.1", "--leader-elect=false"]);
    command.arg(format!("--secure-port={SCHEDULER}"));
    files(&mut command, folder, &[("kubeconfig", "scheduler.kubeconfig")]);
    Ok(command)
}

fn server(name: &str, namespace: &Namespace) -> Result<Command> {
    let mut command = namespace.command(program("control-plane")?);
    command.arg(name);
    Ok(command)
}

/// Adds `--OPTION=FOLDER/FILE` for each.
fn files(command: &mut Command, folder: &Path, options: &[(&str, &str)]) {
    command.args(options.iter().map(|(option, file)| format!("--{option}={}", folder.join(file).display())));
}
