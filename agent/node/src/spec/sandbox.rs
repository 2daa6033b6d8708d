//! Owns the sandbox of a pod as the CRI is asked for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};

use super::hostname::{self, hostname};
use super::{SpecError, dns, requirements, resources, security, sysctls};
use crate::context::Context;
use crate::cri::{labels, v1};
use crate::events::Kind;

/// Describes the sandbox and makes the folder of its logs.
pub(super) async fn sandbox(context: &Context, pod: &Pod, attempt: u32) -> Result<v1::PodSandboxConfig, SpecError> {
    let dns = resolver(context, pod).await.map_err(SpecError::sandbox)?;
    let cgroup = context.cgroups.parent(pod);
    let logs = log_directory(&context.settings.logs, pod);
    let config =
        assemble(pod, attempt, dns, cgroup, &logs, &context.settings.cluster_domain).map_err(SpecError::sandbox)?;
    std::fs::create_dir_all(&logs)
        .map_err(|error| SpecError::sandbox(format!("cannot create log directory {}: {error}", logs.display())))?;
    Ok(config)
}

/// Where the containers of a pod log.
pub fn log_directory(logs: &Path, pod: &Pod) -> PathBuf {
    let meta = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    logs.join(format!("{}_{}_{}", text(&meta.namespace), text(&meta.name), text(&meta.uid)))
}

async fn resolver(context: &Context, pod: &Pod) -> Result<v1::DnsConfig, &'static str> {
    let settings = &context.settings;
    let cluster = match dns::base(pod) {
        dns::Base::Cluster if settings.cluster_dns.is_empty() => {
            let listed = context.objects.services_listed().await;
            let service = if listed { context.objects.service("kube-system", "kube-dns").await } else { None };
            dns::by_service(pod, listed, service.as_deref())?
        }
        _ => settings.cluster_dns.iter().map(ToString::to_string).collect(),
    };
    let host = std::fs::read_to_string(&settings.resolv_conf).unwrap_or_else(|error| {
        tracing::warn!(path = %settings.resolv_conf.display(), "cannot read the host's resolver configuration: {error}");
        String::new()
    });
    let resolver = dns::resolver(pod, &cluster, &settings.cluster_domain, &host);
    for (reason, message) in resolver.warnings {
        context.events.pod(pod, None, Kind::Warning, reason, message);
    }
    Ok(resolver.config)
}

fn assemble(
    pod: &Pod,
    attempt: u32,
    dns: v1::DnsConfig,
    cgroup_parent: String,
    logs: &Path,
    cluster_domain: &str,
) -> Result<v1::PodSandboxConfig, String> {
    let meta = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let on_host = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
    let hostname = match on_host {
        true => String::new(),
        false => hostname::kernel_name(pod, &hostname(pod, cluster_domain)?)?,
    };
    Ok(v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: text(&meta.name),
            uid: text(&meta.uid),
            namespace: text(&meta.namespace),
            attempt,
        }),
        hostname,
        log_directory: logs.to_string_lossy().into_owned(),
        dns_config: Some(dns),
        port_mappings: if on_host { Vec::new() } else { port_mappings(pod) },
        labels: own_labels(pod),
        annotations: meta.annotations.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent,
            security_context: Some(security::sandbox(pod)?),
            sysctls: sysctls::sysctls(pod).collect(),
            overhead: Some(resources::overhead(pod)),
            resources: Some(resources::sandbox(pod)),
        }),
        ..Default::default()
    })
}

/// The pod's labels, and those by which it is found again.
fn own_labels(pod: &Pod) -> HashMap<String, String> {
    let meta = &pod.metadata;
    let mut all: HashMap<_, _> =
        meta.labels.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    all.extend(identity(pod));
    all
}

/// The labels by which what belongs to a pod is found again.
pub(super) fn identity(pod: &Pod) -> [(String, String); 3] {
    let meta = &pod.metadata;
    [
        (labels::POD_NAME.to_owned(), meta.name.clone().unwrap_or_default()),
        (labels::POD_NAMESPACE.to_owned(), meta.namespace.clone().unwrap_or_default()),
        (labels::POD_UID.to_owned(), meta.uid.clone().unwrap_or_default()),
    ]
}

fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    let spec = pod.spec.as_ref();
    let sidecars = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|container| requirements::is_sidecar(container));
    let containers = spec.into_iter().flat_map(|spec| spec.containers.iter()).chain(sidecars);
    let ports = |container: &Container| container.ports.clone().unwrap_or_default();
    let ports = containers.flat_map(ports).filter(|port| port.host_port.unwrap_or_default() > 0);
    ports.map(port_mapping).collect()
}

fn port_mapping(port: ContainerPort) -> v1::PortMapping {
    let protocol = match port.protocol.as_deref() {
        Some("UDP") => v1::Protocol::Udp,
        Some("SCTP") => v1::Protocol::Sctp,
        _ => v1::Protocol::Tcp,
    };
    v1::PortMapping {
        protocol: protocol.into(),
        container_port: port.container_port,
        host_port: port.host_port.unwrap_or_default(),
        host_ip: port.host_ip.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn assembled(spec: Value) -> Result<v1::PodSandboxConfig, String> {
        let meta = json!({"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "web"},
            "annotations": {"note": "x"}});
        let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
        let logs = log_directory(Path::new("/logs"), &pod);
        assemble(&pod, 2, v1::DnsConfig::default(), "/kubepods/pod-u".into(), &logs, "cluster.local")
    }

    #[test]
    fn a_sandbox_can_be_found_again() {
        let config = assembled(json!({"containers": [{"name": "c"}]})).unwrap();
        let metadata = config.metadata.unwrap();
        assert_eq!((metadata.name.as_str(), metadata.uid.as_str(), metadata.attempt), ("p", "u", 2));
        assert_eq!(config.hostname, "p");
        assert_eq!(config.log_directory, "/logs/ns_p_u");
        assert_eq!(config.labels["app"], "web");
        assert_eq!(config.labels[labels::POD_NAME], "p");
        assert_eq!(config.labels[labels::POD_NAMESPACE], "ns");
        assert_eq!(config.labels[labels::POD_UID], "u");
        assert_eq!(config.annotations["note"], "x");
        assert_eq!(config.linux.unwrap().cgroup_parent, "/kubepods/pod-u");
    }

    #[test]
    fn ports_of_the_host_are_mapped() {
        let ports = json!([{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP",
            "hostIP": "127.0.0.1"}]);
        let containers = json!([{"name": "c", "ports": ports}]);
        let config = assembled(json!({"containers": containers})).unwrap();
        let mapping = v1::PortMapping {
            protocol: v1::Protocol::Udp.into(),
            container_port: 53,
            host_port: 5353,
            host_ip: "127.0.0.1".into(),
        };
        assert_eq!(config.port_mappings, [mapping]);
        let config = assembled(json!({"containers": containers, "hostNetwork": true})).unwrap();
        assert!(config.port_mappings.is_empty());
        assert_eq!(config.hostname, "");
    }

    #[test]
    fn kernel_settings_are_taken_over() {
        let security = json!({"sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "1"}]});
        let config = assembled(json!({"containers": [], "securityContext": security})).unwrap();
        assert_eq!(config.linux.unwrap().sysctls["net.ipv4.tcp_syncookies"], "1");
    }

    #[test]
    fn a_wrong_name_is_told() {
        assert!(assembled(json!({"containers": [], "hostname": "-"})).unwrap_err().contains("DNS label"));
    }
}
