//! Owns the Service that pods find the cluster's DNS by, and whose the one is that is there. Pure.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::settings::{Dns, Settings};

/// Where it is.
pub const NAMESPACE: &str = "kube-system";
/// The name that nodes look for.
pub const SERVICE: &str = "kube-dns";
/// Says where it is answered: at the master.
pub const SLICE: &str = "kube-dns-keelson-master";
/// As whom objects are applied.
pub const MANAGER: &str = "keelson-master";
const MANAGED: &str = "app.kubernetes.io/managed-by";

/// Whose the Service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Missing,
    /// The master made it.
    Ours,
    /// An operator made it, or has given it pods of his own.
    Theirs,
}

/// Whose it is that is there.
pub fn standing(service: Option<&Service>) -> Standing {
    let Some(service) = service else { return Standing::Missing };
    let labels = service.metadata.labels.as_ref();
    let made = labels.and_then(|labels| labels.get(MANAGED)).is_some_and(|manager| manager == MANAGER);
    let selects = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|it| !it.is_empty());
    if made && !selects { Standing::Ours } else { Standing::Theirs }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Have both objects there.
    Apply,
    /// Remove what the master made.
    Remove,
    /// Remove only what says that the master answers: the Service is an operator's.
    GiveWay,
}

/// What is to be done where DNS is wanted, or not.
pub fn action(wanted: bool, standing: Standing) -> Action {
    match (wanted, standing) {
        (true, Standing::Missing | Standing::Ours) => Action::Apply,
        (false, Standing::Missing | Standing::Ours) => Action::Remove,
        (_, Standing::Theirs) => Action::GiveWay,
    }
}

const PORTS: [(&str, &str); 2] = [("dns", "UDP"), ("dns-tcp", "TCP")];

/// The Service.
pub fn service(dns: &Dns) -> Value {
    let ports = PORTS.map(|(name, protocol)| json!({ "name": name, "protocol": protocol, "port": 53 }));
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
                MANAGED: MANAGER,
            },
        },
        // Nothing is selected: no pod answers.
        "spec": { "clusterIP": dns.service, "ports": ports },
    })
}

/// Where it is answered.
pub fn slice(settings: &Settings) -> Value {
    let ports = PORTS.map(|(name, protocol)| json!({ "name": name, "protocol": protocol, "port": 53 }));
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": SLICE,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/service-name": SERVICE,
                "endpointslice.kubernetes.io/managed-by": MANAGER,
            },
        },
        "addressType": if settings.address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{
            "addresses": [settings.address],
            "conditions": { "ready": true, "serving": true, "terminating": false },
        }],
        "ports": ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use keelson_common::master::MasterConfig;

    fn made() -> Service {
        let settings = Settings::new(&MasterConfig::default(), "10.77.0.2".parse().unwrap()).unwrap();
        serde_json::from_value(service(settings.dns.as_ref().unwrap())).unwrap()
    }

    #[test]
    fn pods_find_the_master() {
        let spec = made().spec.unwrap();
        assert_eq!((spec.cluster_ip.as_deref(), spec.selector), (Some("10.96.0.10"), None));
        let config = MasterConfig { service_network: Some("fd00:96::/112".into()), ..Default::default() };
        let settings = Settings::new(&config, "fd00::2".parse().unwrap()).unwrap();
        assert_eq!(service(settings.dns.as_ref().unwrap())["spec"]["clusterIP"], "fd00:96::a");
        let slice: EndpointSlice = serde_json::from_value(slice(&settings)).unwrap();
        let endpoints = slice.endpoints.unwrap();
        assert_eq!((&*slice.address_type, &*endpoints[0].addresses[0]), ("IPv6", "fd00::2"));
        let ports: Vec<_> = slice.ports.unwrap().into_iter().map(|port| (port.name.unwrap(), port.port)).collect();
        assert_eq!(ports, [("dns".to_owned(), Some(53)), ("dns-tcp".to_owned(), Some(53))]);
        assert_eq!(slice.metadata.labels.unwrap()["kubernetes.io/service-name"], SERVICE);
    }

    #[test]
    fn what_an_operator_deployed_stays() {
        assert_eq!(standing(None), Standing::Missing);
        assert_eq!(standing(Some(&made())), Standing::Ours);
        // Applied over ours.
        let mut theirs = made();
        theirs.spec.as_mut().unwrap().selector = Some([("k8s-app".to_owned(), "kube-dns".to_owned())].into());
        assert_eq!(standing(Some(&theirs)), Standing::Theirs);
        assert_eq!(standing(Some(&Service::default())), Standing::Theirs);
        assert_eq!(action(true, Standing::Theirs), Action::GiveWay);
        assert_eq!(action(false, Standing::Theirs), Action::GiveWay);
        assert_eq!((action(true, Standing::Missing), action(false, Standing::Ours)), (Action::Apply, Action::Remove));
    }
}
