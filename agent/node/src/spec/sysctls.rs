//! Owns which kernel settings a pod may have for itself. Pure.

use k8s_openapi::api::core::v1::Pod;

/// Settings that no other pod on the node notices.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// A pod's settings, named with dots.
pub(super) fn sysctls(pod: &Pod) -> impl Iterator<Item = (String, String)> {
    let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let sysctls = security.and_then(|security| security.sysctls.as_ref());
    sysctls.into_iter().flatten().map(|sysctl| (dotted(&sysctl.name), sysctl.value.clone()))
}

/// Why the pod may not have what it asks for.
pub(super) fn check(pod: &Pod) -> Result<(), String> {
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|spec| spec.host_network).unwrap_or_default();
    let host_ipc = spec.and_then(|spec| spec.host_ipc).unwrap_or_default();
    for (name, _) in sysctls(pod) {
        let (shared, namespace) = if name.starts_with("net.") { (host_network, "net") } else { (host_ipc, "ipc") };
        if !SAFE.contains(&name.as_str()) {
            return Err(format!("forbidden sysctl: {name:?} not allowlisted"));
        }
        if shared {
            return Err(format!("forbidden sysctl: {name:?} not allowed with host {namespace} enabled"));
        }
    }
    Ok(())
}

/// `net/ipv4/conf/eth0.1/x` is `net.ipv4.conf.eth0/1.x`; what comes first says which way it is written.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name.as_bytes()[first] == b'/' => name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, more: Value) -> Pod {
        let mut spec = json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
    }

    #[test]
    fn safe_settings_are_allowed_in_either_writing() {
        assert_eq!(check(&pod("kernel.shm_rmid_forced", json!({}))), Ok(()));
        assert_eq!(check(&pod("net/ipv4/tcp_syncookies", json!({"hostIPC": true}))), Ok(()));
        let all: Vec<_> = sysctls(&pod("net/ipv4/conf/eth0.1/x", json!({}))).collect();
        assert_eq!(all, [("net.ipv4.conf.eth0/1.x".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn others_are_not() {
        let error = check(&pod("kernel.msgmax", json!({}))).unwrap_err();
        assert_eq!(error, "forbidden sysctl: \"kernel.msgmax\" not allowlisted");
    }

    #[test]
    fn what_is_shared_with_the_host_is_not_set() {
        let error = check(&pod("net.ipv4.tcp_syncookies", json!({"hostNetwork": true}))).unwrap_err();
        assert_eq!(error, "forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled");
        assert!(check(&pod("kernel.shm_rmid_forced", json!({"hostIPC": true}))).unwrap_err().contains("host ipc"));
    }
}
