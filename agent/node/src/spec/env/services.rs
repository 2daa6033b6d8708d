//! Owns the variables that tell a container of services. Pure.

use k8s_openapi::api::core::v1::{Service, ServicePort};

/// The variables for a pod of `namespace`: of the API itself and, with `links`, of the services beside
/// the pod. Sorted by service.
pub(super) fn variables<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> Vec<(String, String)> {
    let mut chosen = std::collections::BTreeMap::new();
    for service in services {
        let Some(address) = address(service) else { continue };
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let (api, beside) = match service.metadata.namespace.as_deref() {
            Some("default") if name == "kubernetes" => (true, false),
            other => (false, links && other == Some(namespace)),
        };
        // A service beside the pod hides the API's.
        if beside || (api && !chosen.contains_key(name)) {
            chosen.insert(name, (service, address));
        }
    }
    chosen.into_iter().flat_map(|(name, (service, address))| of_service(name, service, address)).collect()
}

fn address(service: &Service) -> Option<&str> {
    let address = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (!address.is_empty() && address != "None").then_some(address)
}

fn of_service(name: &str, service: &Service, address: &str) -> Vec<(String, String)> {
    let prefix = variable(name);
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let mut variables = vec![(format!("{prefix}_SERVICE_HOST"), address.to_owned())];
    if let Some(first) = ports.first() {
        variables.push((format!("{prefix}_SERVICE_PORT"), first.port.to_string()));
    }
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", variable(name)), port.port.to_string()));
        }
    }
    if let Some(first) = ports.first() {
        variables.push((format!("{prefix}_PORT"), url(first, address)));
    }
    for port in ports {
        let protocol = protocol(port);
        let prefix = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.push((prefix.clone(), url(port, address)));
        variables.push((format!("{prefix}_PROTO"), protocol));
        variables.push((format!("{prefix}_PORT"), port.port.to_string()));
        variables.push((format!("{prefix}_ADDR"), address.to_owned()));
    }
    variables
}

fn protocol(port: &ServicePort) -> String {
    port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP").to_lowercase()
}

fn url(port: &ServicePort, address: &str) -> String {
    match address.contains(':') {
        true => format!("{}://[{address}]:{}", protocol(port), port.port),
        false => format!("{}://{address}:{}", protocol(port), port.port),
    }
}

fn variable(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(namespace: &str, name: &str, spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})).unwrap()
    }

    fn api() -> Service {
        service("default", "kubernetes", json!({"clusterIP": "10.0.0.1", "ports": [{"name": "https", "port": 443}]}))
    }

    fn names(variables: &[(String, String)]) -> Vec<&str> {
        variables.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn every_port_of_a_service_is_told() {
        let spec = json!({"clusterIP": "10.0.0.7", "ports": [
            {"name": "a-b", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]});
        let variables = variables(&[service("ns", "my-db", spec)], "ns", true);
        let told: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            told,
            [
                "MY_DB_SERVICE_HOST=10.0.0.7",
                "MY_DB_SERVICE_PORT=80",
                "MY_DB_SERVICE_PORT_A_B=80",
                "MY_DB_SERVICE_PORT_DNS=53",
                "MY_DB_PORT=tcp://10.0.0.7:80",
                "MY_DB_PORT_80_TCP=tcp://10.0.0.7:80",
                "MY_DB_PORT_80_TCP_PROTO=tcp",
                "MY_DB_PORT_80_TCP_PORT=80",
                "MY_DB_PORT_80_TCP_ADDR=10.0.0.7",
                "MY_DB_PORT_53_UDP=udp://10.0.0.7:53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_ADDR=10.0.0.7",
            ]
        );
    }

    #[test]
    fn without_links_only_the_api_is_told() {
        let beside = service("ns", "db", json!({"clusterIP": "10.0.0.7", "ports": [{"port": 80}]}));
        let variables = variables(&[beside, api()], "ns", false);
        assert!(names(&variables).iter().all(|name| name.starts_with("KUBERNETES_")));
        assert!(names(&variables).contains(&"KUBERNETES_SERVICE_HOST"));
    }

    #[test]
    fn services_elsewhere_and_headless_ones_are_not_told() {
        let elsewhere = service("other", "db", json!({"clusterIP": "10.0.0.7", "ports": [{"port": 80}]}));
        let headless = service("ns", "db", json!({"clusterIP": "None", "ports": [{"port": 80}]}));
        assert!(variables(&[elsewhere, headless], "ns", true).is_empty());
    }

    #[test]
    fn a_service_beside_the_pod_hides_the_apis() {
        let own = service("ns", "kubernetes", json!({"clusterIP": "10.0.0.9", "ports": [{"port": 1}]}));
        for services in [[api(), own.clone()], [own, api()]] {
            let variables = variables(&services, "ns", true);
            assert!(variables.contains(&("KUBERNETES_SERVICE_HOST".into(), "10.0.0.9".into())));
        }
    }

    #[test]
    fn addresses_of_version_6_stand_in_brackets() {
        let spec = json!({"clusterIP": "fd00::1", "ports": [{"port": 80}]});
        let variables = variables(&[service("ns", "db", spec)], "ns", true);
        assert!(variables.contains(&("DB_PORT".into(), "tcp://[fd00::1]:80".into())));
        assert!(variables.contains(&("DB_SERVICE_HOST".into(), "fd00::1".into())));
    }
}
