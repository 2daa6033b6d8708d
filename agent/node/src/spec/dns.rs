//! Owns how a pod resolves names: from its policy, the cluster's servers and the host's own
//! configuration. Pure.

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig, PodDNSConfigOption, Service};

use super::admission::is_static;
use crate::cri::v1::DnsConfig;

/// As much as resolvers take.
const SERVERS: usize = 3;
const SEARCHES: usize = 32;
const SEARCH_LENGTH: usize = 2048;
const NAME_LENGTH: usize = 253;

/// Where a pod's configuration begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// The cluster's servers.
    Cluster,
    /// What the host has.
    Host,
    /// Nothing.
    Empty,
}

/// A pod's configuration, and what a person should know of how it came about.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resolver {
    pub config: DnsConfig,
    /// Warnings for events: reason and message.
    pub warnings: Vec<(&'static str, String)>,
}

/// Where the configuration of this pod begins.
pub(super) fn base(pod: &Pod) -> Base {
    let spec = pod.spec.as_ref();
    let host_network = spec.and_then(|spec| spec.host_network).unwrap_or_default();
    match spec.and_then(|spec| spec.dns_policy.as_deref()) {
        Some("None") => Base::Empty,
        Some("Default") => Base::Host,
        Some("ClusterFirstWithHostNet") => Base::Cluster,
        _ if host_network => Base::Host,
        _ => Base::Cluster,
    }
}

/// The servers of the cluster for a pod, by its DNS service, if there is one. While services have not been
/// `listed` only a static pod, which waits for no API, goes without.
pub(super) fn by_service(pod: &Pod, listed: bool, service: Option<&Service>) -> Result<Vec<String>, &'static str> {
    if !listed && !is_static(pod) {
        return Err("services have not yet been read at least once, cannot tell the DNS servers of the cluster");
    }
    Ok(service.map(servers_of).unwrap_or_default())
}

/// The servers of the cluster, as its DNS service has them.
fn servers_of(service: &Service) -> Vec<String> {
    let spec = service.spec.as_ref();
    let all = spec.and_then(|spec| spec.cluster_ips.clone()).unwrap_or_default();
    let first = spec.and_then(|spec| spec.cluster_ip.clone());
    let addresses = if all.is_empty() { first.into_iter().collect() } else { all };
    addresses.into_iter().filter(|address| !address.is_empty() && address != "None").collect()
}

/// How a pod resolves names. `cluster` are the cluster's servers, `domain` its domain, `host` the text
/// of the host's resolv.conf.
pub(super) fn resolver(pod: &Pod, cluster: &[String], domain: &str, host: &str) -> Resolver {
    let mut warnings = Vec::new();
    let mut config = match base(pod) {
        Base::Empty => DnsConfig::default(),
        Base::Host => parse(host),
        Base::Cluster if cluster.is_empty() => {
            warnings.push(("MissingClusterDNS", missing(pod)));
            parse(host)
        }
        Base::Cluster => DnsConfig {
            servers: cluster.to_vec(),
            searches: cluster_searches(pod, domain, parse(host).searches),
            options: vec!["ndots:5".to_owned()],
        },
    };
    if let Some(own) = pod.spec.as_ref().and_then(|spec| spec.dns_config.as_ref()) {
        merge(&mut config, own);
    }
    warnings.extend(fit(&mut config).into_iter().map(|message| ("DNSConfigForming", message)));
    Resolver { config, warnings }
}

fn missing(pod: &Pod) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    format!(
        "pod: \"{name}_{namespace}\". The node knows no DNS server of the cluster and cannot create the pod \
         using \"ClusterFirst\" policy. Falling back to \"Default\" policy."
    )
}

fn cluster_searches(pod: &Pod, domain: &str, host: Vec<String>) -> Vec<String> {
    if domain.is_empty() {
        return host;
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    searches.extend(host);
    once(searches)
}

/// Reads a resolv.conf: servers add up, of searches the last line counts, of options the last of a name.
fn parse(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                let names = words.filter(|name| *name != ".");
                config.searches = names.map(|name| name.trim_end_matches('.').to_owned()).collect();
            }
            Some("options") => words.for_each(|option| set_option(&mut config.options, option.to_owned())),
            _ => {}
        }
    }
    config
}

fn merge(config: &mut DnsConfig, own: &PodDNSConfig) {
    config.servers.extend(own.nameservers.iter().flatten().cloned());
    config.servers = once(std::mem::take(&mut config.servers));
    config.searches.extend(own.searches.iter().flatten().cloned());
    config.searches = once(std::mem::take(&mut config.searches));
    for PodDNSConfigOption { name, value } in own.options.iter().flatten() {
        let name = name.clone().unwrap_or_default();
        let option = match value.as_deref() {
            None | Some("") => name,
            Some(value) => format!("{name}:{value}"),
        };
        set_option(&mut config.options, option);
    }
}

fn set_option(options: &mut Vec<String>, option: String) {
    fn name(option: &str) -> &str {
        option.split(':').next().unwrap_or_default()
    }
    match options.iter_mut().find(|present| name(present) == name(&option)) {
        Some(present) => *present = option,
        None => options.push(option),
    }
}

fn once(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

/// Leaves out what resolvers would not take; says so.
fn fit(config: &mut DnsConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.servers.len() > SERVERS {
        config.servers.truncate(SERVERS);
        warnings.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            config.servers.join(" ")
        ));
    }
    let before = config.searches.len();
    config.searches.truncate(SEARCHES);
    config.searches.retain(|name| name.len() <= NAME_LENGTH);
    while config.searches.join(" ").len() > SEARCH_LENGTH {
        config.searches.pop();
    }
    if config.searches.len() < before {
        warnings.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            config.searches.join(" ")
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HOST: &str = "# a comment\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch old\nsearch a.example. .\n\
                        options ndots:2 edns0\noptions ndots:3\n";

    fn pod(mut spec: Value) -> Pod {
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn resolved(spec: Value) -> Resolver {
        resolver(&pod(spec), &["10.0.0.10".to_owned()], "cluster.local", HOST)
    }

    #[test]
    fn the_cluster_comes_first() {
        let Resolver { config, warnings } = resolved(json!({"dnsPolicy": "ClusterFirst"}));
        assert_eq!(config.servers, ["10.0.0.10"]);
        assert_eq!(config.searches, ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "a.example"]);
        assert_eq!(config.options, ["ndots:5"]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_pod_on_the_hosts_network_has_the_hosts() {
        let config = resolved(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true})).config;
        assert_eq!(config.servers, ["1.1.1.1", "2.2.2.2"]);
        assert_eq!(config.searches, ["a.example"]);
        assert_eq!(config.options, ["ndots:3", "edns0"]);
        assert_eq!(resolved(json!({"dnsPolicy": "Default"})).config, config);
        let with = resolved(json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}));
        assert_eq!(with.config.servers, ["10.0.0.10"]);
    }

    #[test]
    fn the_pods_own_configuration_is_merged() {
        let own = json!({
            "nameservers": ["9.9.9.9"],
            "searches": ["b.example"],
            "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}],
        });
        let config = resolved(json!({"dnsPolicy": "None", "dnsConfig": own})).config;
        assert_eq!(config.servers, ["9.9.9.9"]);
        assert_eq!(config.searches, ["b.example"]);
        assert_eq!(config.options, ["ndots:1", "edns0"]);
        let config = resolved(json!({"dnsPolicy": "ClusterFirst", "dnsConfig": own})).config;
        assert_eq!(config.servers, ["10.0.0.10", "9.9.9.9"]);
        assert_eq!(config.options, ["ndots:1", "edns0"]);
    }

    #[test]
    fn without_a_server_the_hosts_are_taken_and_somebody_is_told() {
        let resolver = resolver(&pod(json!({})), &[], "cluster.local", HOST);
        assert_eq!(resolver.config.servers, ["1.1.1.1", "2.2.2.2"]);
        assert_eq!(resolver.warnings[0].0, "MissingClusterDNS");
    }

    #[test]
    fn a_pod_waits_until_it_is_known_whether_there_is_a_server() {
        let service: Service =
            serde_json::from_value(json!({"metadata": {}, "spec": {"clusterIP": "10.0.0.10"}})).unwrap();
        let mut pod = pod(json!({}));
        assert!(by_service(&pod, false, None).unwrap_err().contains("services have not yet been read"));
        assert_eq!(by_service(&pod, true, Some(&service)).unwrap(), ["10.0.0.10"]);
        assert!(by_service(&pod, true, None).unwrap().is_empty());
        let source = ("kubernetes.io/config.source".to_owned(), "file".to_owned());
        pod.metadata.annotations = Some([source].into());
        assert!(by_service(&pod, false, None).unwrap().is_empty());
    }

    #[test]
    fn what_resolvers_do_not_take_is_left_out() {
        let searches: Vec<String> = (0..40).map(|number| format!("{number}.{}", "x".repeat(100))).collect();
        let own = json!({"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"], "searches": searches});
        let Resolver { config, warnings } = resolved(json!({"dnsPolicy": "None", "dnsConfig": own}));
        assert_eq!(config.servers.len(), 3);
        assert!(config.searches.join(" ").len() <= 2048);
        assert_eq!(config.searches.len(), 19);
        assert_eq!(warnings.len(), 2);
        let own = json!({"searches": ["y".repeat(254), "ok"]});
        assert_eq!(resolved(json!({"dnsPolicy": "None", "dnsConfig": own})).config.searches, ["ok"]);
    }

    #[test]
    fn headless_services_are_no_servers() {
        let service = |ips: Value| serde_json::from_value::<Service>(json!({"metadata": {}, "spec": ips})).unwrap();
        assert_eq!(servers_of(&service(json!({"clusterIP": "10.0.0.10"}))), ["10.0.0.10"]);
        assert_eq!(servers_of(&service(json!({"clusterIP": "a", "clusterIPs": ["a", "b"]}))), ["a", "b"]);
        assert!(servers_of(&service(json!({"clusterIP": "None"}))).is_empty());
    }
}
