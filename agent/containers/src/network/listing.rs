//! Owns the networks as `GET /networks` shows them: `bridge`, `host` and `none`, and who is on each.

use std::collections::HashMap;

use bollard::models::{ConfigReference, EndpointResource, Ipam, IpamConfig, NetworkInspect};

use super::record::Record;
use super::{Bridge, Network, inspect, network_id};
use crate::error::{Error, Result};
use crate::filters::Filters;

/// The filters that [`matches`] knows.
pub const FILTERS: [&str; 7] = ["name", "id", "driver", "type", "scope", "label", "dangling"];

impl Network {
    /// The networks, in the order of their names; `name` tells what a container is called.
    pub fn list(&self, name: impl Fn(&str) -> Option<String>) -> Vec<NetworkInspect> {
        let records = self.records();
        let on = |network: &str| -> HashMap<String, EndpointResource> {
            let here = records.iter().filter(|(_, record)| inspect::name(&record.mode) == Some(network));
            here.filter_map(|(id, record)| Some((id.clone(), endpoint(id, name(id)?, record)))).collect()
        };
        ["bridge", "host", "none"].map(|network| described(network, &self.bridge, on(network))).to_vec()
    }

    /// The network that `reference` names: by name, id, or the beginning of an id.
    pub fn lookup(&self, reference: &str, name: impl Fn(&str) -> Option<String>) -> Result<NetworkInspect> {
        found(self.list(name), reference)
    }
}

fn found(mut networks: Vec<NetworkInspect>, reference: &str) -> Result<NetworkInspect> {
    let missing = || Error::NotFound(format!("network {reference} not found"));
    let by_id = |network: &NetworkInspect| {
        !reference.is_empty() && network.id.as_ref().is_some_and(|id| id.starts_with(reference))
    };
    let place = networks
        .iter()
        .position(|network| network.name.as_deref() == Some(reference))
        .or_else(|| networks.iter().position(by_id))
        .ok_or_else(missing)?;
    Ok(networks.swap_remove(place))
}

fn endpoint(id: &str, name: String, record: &Record) -> EndpointResource {
    let attached = &record.attached;
    let address = attached.address.map(|address| format!("{address}/{}", attached.prefix));
    EndpointResource {
        name: Some(name),
        endpoint_id: Some(id.to_owned()),
        mac_address: Some(attached.mac.clone().unwrap_or_default()),
        ipv4_address: Some(address.unwrap_or_default()),
        ipv6_address: Some(String::new()),
    }
}

fn described(name: &str, bridge: &Bridge, containers: HashMap<String, EndpointResource>) -> NetworkInspect {
    let own = name == "bridge";
    let pool = IpamConfig {
        subnet: Some(bridge.subnet().to_string()),
        gateway: Some(bridge.gateway().to_string()),
        ..IpamConfig::default()
    };
    let options =
        [("com.docker.network.bridge.default_bridge", "true"), ("com.docker.network.bridge.name", bridge.name())];
    NetworkInspect {
        name: Some(name.to_owned()),
        id: Some(network_id(name)),
        scope: Some("local".to_owned()),
        driver: Some(if name == "none" { "null" } else { name }.to_owned()),
        enable_ipv4: Some(true),
        enable_ipv6: Some(false),
        ipam: Some(Ipam {
            driver: Some("default".to_owned()),
            config: Some(if own { vec![pool] } else { Vec::new() }),
            options: None,
        }),
        internal: Some(false),
        attachable: Some(false),
        ingress: Some(false),
        config_from: Some(ConfigReference { network: Some(String::new()) }),
        config_only: Some(false),
        options: Some(
            options.into_iter().filter(|_| own).map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ),
        labels: Some(HashMap::new()),
        containers: Some(containers),
        ..NetworkInspect::default()
    }
}

/// Whether `network` is among those that `filters` ask for.
pub fn matches(network: &NetworkInspect, filters: &Filters) -> Result<bool> {
    let any = |key: &str, fits: &dyn Fn(&str) -> bool| {
        let wanted = filters.get(key);
        wanted.is_empty() || wanted.iter().any(|value| fits(value))
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (name, id, driver) = (text(&network.name), text(&network.id), text(&network.driver));
    // Every network here is built in, and none of those ever counts as dangling.
    Ok(any("name", &|value| name.contains(value))
        && any("id", &|value| id.starts_with(value))
        && any("driver", &|value| driver == value)
        && any("scope", &|value| value == "local")
        && any("type", &|value| value == "builtin")
        && filters.flag("dangling")? != Some(true)
        && filters.labels_match(&HashMap::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Vec<NetworkInspect> {
        let bridge = Bridge::new("keel0", "10.87.0.0/16").unwrap();
        ["bridge", "host", "none"].map(|name| described(name, &bridge, HashMap::new())).to_vec()
    }

    fn names(filters: &str) -> Vec<String> {
        let filters = Filters::parse(filters, &FILTERS).unwrap();
        let fit = networks().into_iter().filter(|network| matches(network, &filters).unwrap());
        fit.filter_map(|network| network.name).collect()
    }

    #[test]
    fn a_network_is_found_by_name_and_id() {
        let name = |reference: &str| found(networks(), reference).map(|network| network.name.unwrap());
        assert_eq!(name("host").unwrap(), "host");
        assert_eq!(name(&network_id("none")[..12]).unwrap(), "none");
        assert_eq!(name("mine").unwrap_err().to_string(), "network mine not found");
        assert!(name("").is_err());
    }

    #[test]
    fn the_bridge_tells_its_addresses() {
        let json = serde_json::to_value(found(networks(), "bridge").unwrap()).unwrap();
        assert_eq!(json["IPAM"]["Config"][0]["Gateway"], "10.87.0.1");
        assert_eq!(json["Options"]["com.docker.network.bridge.name"], "keel0");
        assert_eq!(json["EnableIPv6"], false);
    }

    #[test]
    fn networks_are_filtered() {
        assert_eq!(names("{}"), ["bridge", "host", "none"]);
        assert_eq!(names(r#"{"driver":["null"]}"#), ["none"]);
        assert_eq!(names(r#"{"name":["o"],"type":["builtin"]}"#), ["host", "none"]);
        assert_eq!(names(r#"{"type":["custom"]}"#), [] as [&str; 0]);
        assert_eq!(names(r#"{"dangling":["true"]}"#), [] as [&str; 0]);
        assert_eq!(names(r#"{"label":["x"]}"#), [] as [&str; 0]);
    }
}
