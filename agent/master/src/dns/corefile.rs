//! Owns the Corefile, by which CoreDNS answers for the cluster: at the master's address alone, and only to who is
//! private or of the cluster, so that it is nobody's open resolver. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;

use crate::settings::{Dns, Settings};

/// Who may ask, wherever the cluster is: private and shared addresses, those of a link, and this host.
const PRIVATE: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];
/// How the file begins.
const OURS: &str =
    "# Written by keeld-master; an operator's own lines are in /etc/keelson/dns.d, see keelson-host(5).\n";

/// What it is made of besides the settings.
#[derive(Debug)]
pub struct Told<'a> {
    /// As whom the API server is asked.
    pub kubeconfig: &'a Path,
    /// The nodes' own addresses, behind which their pods ask.
    pub nodes: &'a BTreeSet<IpAddr>,
    /// The folder of an operator's own lines, where it has any.
    pub lines: Option<&'a Path>,
    /// Whom to ask what the cluster does not know.
    pub forward: &'a [String],
}

/// The file's text.
pub fn corefile(settings: &Settings, dns: &Dns, told: &Told<'_>) -> String {
    let mut text = OURS.to_owned();
    let mut line = |depth: usize, line: &str| {
        let _ = writeln!(text, "{:width$}{line}", "", width = 4 * depth);
    };
    let clients = clients(settings, dns, told.nodes);
    // Apart from all else: no line of an operator's can stand before the cluster's own names.
    let cluster = format!("cluster.local {} {}", settings.pods, settings.services);
    for (zones, is_cluster) in [(&*cluster, true), (".", false)] {
        line(0, &format!("{zones} {{"));
        line(1, &format!("bind {}", settings.address));
        line(1, "errors");
        line(1, "acl {");
        for network in &clients {
            line(2, &format!("allow net {network}"));
        }
        line(2, "block");
        line(1, "}");
        line(1, "loadbalance");
        if is_cluster {
            line(1, "kubernetes {");
            line(2, &format!("kubeconfig {}", told.kubeconfig.display()));
            line(2, "pods insecure");
            line(2, "ttl 30");
            line(1, "}");
        } else {
            line(1, "health 127.0.0.1:10053");
            line(1, "ready 127.0.0.1:10054");
            if let Some(folder) = told.lines {
                line(1, &format!("import {}/*.conf", folder.display()));
            }
            if !told.forward.is_empty() {
                line(1, &format!("forward . {}", told.forward.join(" ")));
            }
            line(1, "cache 30");
            line(1, "loop");
            line(1, "reload 10s 2s");
        }
        line(0, "}");
    }
    text
}

/// Who may ask; a network within another is not named.
fn clients(settings: &Settings, dns: &Dns, nodes: &BTreeSet<IpAddr>) -> Vec<IpNet> {
    let private = PRIVATE.iter().filter_map(|text| text.parse::<IpNet>().ok());
    // Pods in the host's network ask from its address, and so does the search for a loop.
    let hosts = nodes.iter().chain([&settings.address]).map(|address| IpNet::from(*address));
    let all: Vec<IpNet> = private.chain([settings.pods]).chain(dns.clients.iter().copied()).chain(hosts).collect();
    IpNet::aggregate(&all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelson_common::master::MasterConfig;

    fn text(address: &str, config: &MasterConfig, nodes: &[&str], lines: bool, forward: &[&str]) -> String {
        let settings = Settings::new(config, address.parse().unwrap()).unwrap();
        let nodes = nodes.iter().map(|node| node.parse().unwrap()).collect();
        let forward: Vec<String> = forward.iter().map(|&server| server.to_owned()).collect();
        let told = Told {
            kubeconfig: Path::new("/m/coredns.kubeconfig"),
            nodes: &nodes,
            lines: lines.then_some(Path::new("/etc/keelson/dns.d")),
            forward: &forward,
        };
        corefile(&settings, settings.dns.as_ref().unwrap(), &told)
    }

    #[test]
    fn it_is_at_the_masters_address_and_asks_as_itself() {
        let text = text("10.77.0.2", &MasterConfig::default(), &[], false, &["127.0.0.54"]);
        for line in [
            "\ncluster.local 10.244.0.0/16 10.96.0.0/12 {\n    bind 10.77.0.2\n",
            "\n. {\n    bind 10.77.0.2\n",
            "kubeconfig /m/coredns.kubeconfig\n",
            "    forward . 127.0.0.54\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("import"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    #[test]
    fn who_is_neither_private_nor_of_the_cluster_is_refused() {
        let config = MasterConfig {
            pod_network: Some("198.18.0.0/16".into()),
            dns_clients: vec!["203.0.113.0/24".into(), "10.1.0.0/16".into()],
            ..Default::default()
        };
        let text = text("198.51.100.7", &config, &["198.51.100.9", "10.0.0.3", "2001:db8::9"], false, &[]);
        let allowed: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("allow net ")).collect();
        let further = ["198.18.0.0/16", "203.0.113.0/24", "198.51.100.7/32", "198.51.100.9/32", "2001:db8::9/128"];
        assert!(PRIVATE.iter().chain(&further).all(|network| allowed.contains(network)), "{allowed:?}");
        // For the cluster's names, and for all others.
        assert_eq!(allowed.len(), 2 * (PRIVATE.len() + further.len()), "{allowed:?}");
        assert_eq!(text.matches("        block\n    }\n").count(), 2, "{text}");
    }

    #[test]
    fn without_servers_to_ask_it_answers_for_the_cluster_alone() {
        let text = text("10.77.0.2", &MasterConfig::default(), &[], true, &[]);
        assert!(!text.contains("forward"), "{text}");
        let own = text.find("    import /etc/keelson/dns.d/*.conf\n");
        assert!(own > text.find("\n. {\n"), "{text}");
    }
}
