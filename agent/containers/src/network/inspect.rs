//! Owns how a container's network looks in `inspect`: Docker's `NetworkSettings`. Pure.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{EndpointSettings, NetworkSettings};
use serde::Serialize;

use super::{Attached, Mode};

/// `NetworkSettings`, with what Docker showed of the default bridge beside its networks up to API
/// 1.51: scripts read `.NetworkSettings.IPAddress`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Settings {
    /// As the API has it today.
    #[serde(flatten)]
    pub now: NetworkSettings,
    /// The bridge.
    #[serde(rename = "Bridge")]
    pub bridge: String,
    /// The address.
    #[serde(rename = "IPAddress")]
    pub address: String,
    /// How many of its bits name the network.
    #[serde(rename = "IPPrefixLen")]
    pub prefix: u8,
    /// The way out.
    #[serde(rename = "Gateway")]
    pub gateway: String,
    /// The hardware address.
    #[serde(rename = "MacAddress")]
    pub mac: String,
    /// The id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
}

/// The name of `mode`'s network in `inspect`.
pub fn name(mode: &Mode) -> Option<&'static str> {
    match mode {
        Mode::None => Some("none"),
        Mode::Host => Some("host"),
        Mode::Bridge => Some("bridge"),
        Mode::Container(_) | Mode::Group(_) => None,
    }
}

/// How the network of the container `id` looks; `attached` is none while it does not run.
pub fn settings(id: &str, mode: &Mode, attached: Option<&Attached>) -> Settings {
    let text = |address: Option<IpAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    let running = attached.is_some();
    let attached = attached.cloned().unwrap_or_default();
    let (address, gateway) = (text(attached.address), text(attached.gateway));
    let mac = attached.mac.unwrap_or_default();
    let endpoint = if running && name(mode).is_some() { id.to_owned() } else { String::new() };
    let settings = EndpointSettings {
        mac_address: Some(mac.clone()),
        network_id: name(mode).filter(|_| running).map(super::network_id),
        endpoint_id: Some(endpoint.clone()),
        gateway: Some(gateway.clone()),
        ip_address: Some(address.clone()),
        ip_prefix_len: Some(i64::from(attached.prefix)),
        ..EndpointSettings::default()
    };
    let now = NetworkSettings {
        sandbox_id: Some(endpoint.clone()),
        sandbox_key: Some(attached.netns.map(|path| path.display().to_string()).unwrap_or_default()),
        ports: Some(attached.ports),
        networks: Some(name(mode).map(|name| (name.to_owned(), settings)).into_iter().collect::<HashMap<_, _>>()),
    };
    Settings { now, bridge: String::new(), address, prefix: attached.prefix, gateway, mac, endpoint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_container_shows_its_address_in_both_places() {
        let attached = Attached {
            address: Some(IpAddr::from([10, 87, 0, 2])),
            prefix: 16,
            gateway: Some(IpAddr::from([10, 87, 0, 1])),
            mac: Some("02:00:00:00:00:03".to_owned()),
            ..Attached::default()
        };
        let json = serde_json::to_value(settings("abc", &Mode::Bridge, Some(&attached))).unwrap();
        assert_eq!(json["IPAddress"], "10.87.0.2");
        assert_eq!(json["Networks"]["bridge"]["IPAddress"], "10.87.0.2");
        assert_eq!(json["Networks"]["bridge"]["Gateway"], "10.87.0.1");
        assert_eq!(json["Networks"]["bridge"]["IPPrefixLen"], 16);
        assert_eq!(json["MacAddress"], "02:00:00:00:00:03");
    }

    #[test]
    fn a_stopped_one_names_its_network_only() {
        let json = serde_json::to_value(settings("abc", &Mode::Bridge, None)).unwrap();
        assert_eq!(json["IPAddress"], "");
        assert_eq!(json["Networks"]["bridge"]["IPAddress"], "");
        assert_eq!(json["Ports"], serde_json::json!({}));
    }

    #[test]
    fn a_shared_network_is_not_its_own() {
        let json = serde_json::to_value(settings("abc", &Mode::Container("x".to_owned()), Some(&Attached::default())))
            .unwrap();
        assert_eq!(json["Networks"], serde_json::json!({}));
    }
}
