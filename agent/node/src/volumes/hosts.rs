//! Owns the hosts file that the containers of a pod see as /etc/hosts.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::error::{At, Problem};

/// What is always in it.
const FIXED: &str = "# Kubernetes-managed hosts file.\n\
    127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\n\
    fe00::2\tip6-allrouters\n";
const HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";
/// As long as a host's name can be.
const NAME: usize = 63;

/// The file's content; `host` is the host's own file, which pods with its network have.
pub fn content(pod: &Pod, ips: &[String], cluster_domain: &str, host: Option<&str>) -> String {
    let mut content = match host {
        Some(host) => format!("{HOST_NETWORK}{host}"),
        None => {
            let name = names(pod, cluster_domain);
            ips.iter().fold(FIXED.to_owned(), |content, ip| format!("{content}{ip}\t{name}\n"))
        }
    };
    let aliases = pod.spec.as_ref().and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    if !aliases.is_empty() {
        content.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        // Writing to a string cannot fail.
        let _ = writeln!(content, "{}\t{names}", alias.ip);
    }
    content
}

/// The names of a pod: with its domain first where it has one, then without.
fn names(pod: &Pod, cluster_domain: &str) -> String {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some(name) = spec.and_then(|spec| spec.hostname_override.as_deref()) {
        return shortened(name).to_owned();
    }
    let hostname = spec.and_then(|spec| spec.hostname.as_deref()).filter(|name| !name.is_empty());
    let name = shortened(hostname.or(meta.name.as_deref()).unwrap_or_default());
    match spec.and_then(|spec| spec.subdomain.as_deref()).filter(|domain| !domain.is_empty()) {
        Some(domain) => {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            format!("{name}.{domain}.{namespace}.svc.{cluster_domain}\t{name}")
        }
        None => name.to_owned(),
    }
}

fn shortened(name: &str) -> &str {
    let end = name.floor_char_boundary(NAME);
    if end == name.len() { name } else { name[..end].trim_end_matches(['-', '.']) }
}

/// Writes the file where it differs; into the same file, since containers have it mounted.
pub fn write(path: &Path, content: &str) -> Result<(), Problem> {
    if fs::read(path).is_ok_and(|old| old == content.as_bytes()) {
        return Ok(());
    }
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o644);
    let mut file =
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path).at("make", path)?;
    io::Write::write_all(&mut file, content.as_bytes()).at("write", path)?;
    file.set_permissions(fs::Permissions::from_mode(0o644)).at("set the permissions of", path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec})).unwrap()
    }

    #[test]
    fn pods_find_themselves_and_their_aliases() {
        let plain = pod(json!({"containers": [], "hostAliases": [
            {"ip": "10.0.0.9", "hostnames": ["foo", "bar"]},
            {"ip": "10.0.0.8", "hostnames": ["baz"]},
        ]}));
        let ips = ["10.1.0.2".to_owned(), "fd00::2".to_owned()];
        assert_eq!(
            content(&plain, &ips, "cluster.local", None),
            format!(
                "{FIXED}10.1.0.2\tweb-0\nfd00::2\tweb-0\n\n# Entries added by HostAliases.\n\
                10.0.0.9\tfoo\tbar\n10.0.0.8\tbaz\n"
            )
        );
    }

    #[test]
    fn a_subdomain_gives_a_full_name() {
        let with = |spec| names(&pod(spec), "cluster.local");
        assert_eq!(with(json!({"containers": [], "subdomain": "web"})), "web-0.web.shop.svc.cluster.local\tweb-0");
        assert_eq!(with(json!({"containers": [], "hostname": "h", "subdomain": "w"})), "h.w.shop.svc.cluster.local\th");
        assert_eq!(with(json!({"containers": [], "hostnameOverride": "a.b", "subdomain": "w"})), "a.b");
        let long = "x".repeat(62) + "-" + &"y".repeat(9);
        assert_eq!(with(json!({"containers": [], "hostname": long})), "x".repeat(62));
    }

    #[test]
    fn the_hosts_network_brings_the_hosts_file() {
        let pod = pod(json!({"containers": [], "hostNetwork": true}));
        assert_eq!(
            content(&pod, &[], "c", Some("127.0.0.1\tlocalhost\n")),
            format!("{HOST_NETWORK}127.0.0.1\tlocalhost\n")
        );
    }

    #[test]
    fn the_file_stays_the_same_file() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc-hosts");
        write(&path, "a longer content").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        write(&path, "b").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), fs::metadata(&path).unwrap().ino()), ("b", inode));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    }
}
