//! Owns what a pod is called inside: its hostname and domain. Pure.

use k8s_openapi::api::core::v1::Pod;

/// As long as a name of the DNS may be between two dots.
const LABEL: usize = 63;
/// As long as the kernel's own name may be.
const KERNEL: usize = 64;
/// As long as a name of the DNS may be altogether.
const NAME: usize = 253;

/// What a pod is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostname {
    /// The short name.
    pub host: String,
    /// What comes after it, by the pod's subdomain; often empty.
    pub domain: String,
}

/// What a pod is called in a cluster of this domain. The error is what a person should read.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> Result<Hostname, String> {
    let Some(spec) = &pod.spec else { return Err("pod has no spec".to_owned()) };
    if let Some(name) = &spec.hostname_override {
        if name.len() > NAME || !name.split('.').all(is_label) {
            return Err(format!("pod HostnameOverride {name:?} is not a valid DNS subdomain"));
        }
        return Ok(Hostname { host: shortened(name), domain: String::new() });
    }
    let given = spec.hostname.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = given.filter(|name| !is_label(name)) {
        return Err(format!("pod Hostname {name:?} is not a valid DNS label"));
    }
    let host = shortened(given.or(pod.metadata.name.as_deref()).unwrap_or_default());
    let domain = match spec.subdomain.as_deref().filter(|name| !name.is_empty()) {
        Some(name) if !is_label(name) => return Err(format!("pod Subdomain {name:?} is not a valid DNS label")),
        Some(name) => {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            format!("{name}.{namespace}.svc.{cluster_domain}")
        }
        None => String::new(),
    };
    Ok(Hostname { host, domain })
}

/// What the kernel is told: the short name or, where the pod asks for that, the whole one.
pub(super) fn kernel_name(pod: &Pod, name: &Hostname) -> Result<String, String> {
    let whole = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn).unwrap_or_default();
    if !whole || name.domain.is_empty() {
        return Ok(name.host.clone());
    }
    let whole = format!("{}.{}", name.host, name.domain);
    if whole.len() > KERNEL {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {whole} is too long \
             ({KERNEL} characters is the max, {} characters requested)",
            whole.len()
        ));
    }
    Ok(whole)
}

/// Cut to what the DNS can hold; never ending in a dot or dash.
fn shortened(name: &str) -> String {
    match name.get(..LABEL) {
        Some(start) if name.len() > LABEL => start.trim_end_matches(['-', '.']).to_owned(),
        _ => name.to_owned(),
    }
}

fn is_label(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=LABEL).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn with(mut spec: Value, more: Value) -> Pod {
        spec["containers"] = json!([]);
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        pod("web-0", spec)
    }

    fn called(more: Value) -> Result<Hostname, String> {
        hostname(&with(json!({}), more), "cluster.local")
    }

    #[test]
    fn the_pods_name_is_its_hosts() {
        let name = called(json!({})).unwrap();
        assert_eq!(name, Hostname { host: "web-0".into(), domain: String::new() });
    }

    #[test]
    fn the_spec_goes_before_the_name() {
        let name = called(json!({"hostname": "h", "subdomain": "s"})).unwrap();
        assert_eq!(name, Hostname { host: "h".into(), domain: "s.ns.svc.cluster.local".into() });
        let name = called(json!({"hostname": "h", "subdomain": "s", "hostnameOverride": "a.b"})).unwrap();
        assert_eq!(name, Hostname { host: "a.b".into(), domain: String::new() });
    }

    #[test]
    fn long_names_are_cut() {
        let long = format!("{}-{}", "a".repeat(62), "b".repeat(10));
        let name = hostname(&pod(&long, json!({"containers": []})), "cluster.local").unwrap();
        assert_eq!(name.host, "a".repeat(62));
    }

    #[test]
    fn wrong_names_are_refused() {
        assert!(called(json!({"hostname": "Big"})).unwrap_err().contains("not a valid DNS label"));
        assert!(called(json!({"subdomain": "a.b"})).unwrap_err().contains("Subdomain"));
        assert!(called(json!({"hostnameOverride": "a..b"})).unwrap_err().contains("DNS subdomain"));
    }

    #[test]
    fn the_kernel_has_the_whole_name_if_asked_to() {
        let pod = with(json!({}), json!({"subdomain": "s", "setHostnameAsFQDN": true}));
        let name = hostname(&pod, "cluster.local").unwrap();
        assert_eq!(kernel_name(&pod, &name).unwrap(), "web-0.s.ns.svc.cluster.local");
        let long = Hostname { domain: "d".repeat(60), ..name.clone() };
        assert!(kernel_name(&pod, &long).unwrap_err().contains("66 characters requested"));
        let plain = with(json!({}), json!({"subdomain": "s"}));
        assert_eq!(kernel_name(&plain, &name).unwrap(), "web-0");
    }
}
