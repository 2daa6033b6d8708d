//! Decides whether what is asked of a container's network goes together, in Docker's words.

use bollard::models::{ContainerConfig, HostConfig};

use super::files::extra_host;
use super::links::Link;
use super::{Bridge, Mode, ports};
use crate::error::{Error, Result};

/// Refuses what cannot be, before a container is made of it. `config` is what was asked for alone,
/// without what the image adds.
pub fn check(bridge: &Bridge, config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    let mode = Mode::parse(host.network_mode.as_deref())?;
    ports::requested(config.exposed_ports.as_deref().unwrap_or_default(), host.port_bindings.as_ref(), false)?;
    for text in host.extra_hosts.iter().flatten() {
        extra_host(text, Some(bridge.gateway().into()))?;
    }
    for text in host.links.iter().flatten() {
        Link::parse(text)?;
    }
    for server in host.dns.iter().flatten() {
        if server.parse::<std::net::IpAddr>().is_err() {
            return Err(Error::Invalid(format!("{server} is not an ip address")));
        }
    }
    match conflict(&mode, config, host) {
        Some(why) => Err(Error::Invalid(format!("conflicting options: {why}"))),
        None => Ok(()),
    }
}

fn conflict(mode: &Mode, config: &ContainerConfig, host: &HostConfig) -> Option<&'static str> {
    let hostname = config.hostname.as_deref().is_some_and(|name| !name.is_empty());
    let any = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let published =
        host.publish_all_ports == Some(true) || host.port_bindings.as_ref().is_some_and(|map| !map.is_empty());
    match mode {
        _ if hostname && host.uts_mode.as_deref() == Some("host") => Some("hostname and the UTS mode"),
        Mode::Host if any(&host.links) => {
            Some("host type networking can't be used with links. This would result in undefined behavior")
        }
        Mode::Container(_) if hostname => Some("hostname and the network mode"),
        Mode::Container(_) if any(&host.links) => {
            Some("container type network can't be used with links. This would result in undefined behavior")
        }
        Mode::Container(_) if any(&host.dns) => Some("dns and the network mode"),
        Mode::Container(_) if any(&host.extra_hosts) => Some("custom host-to-IP mapping and the network mode"),
        Mode::Container(_) if published => Some("port publishing and the container type network mode"),
        Mode::Container(_) if any(&config.exposed_ports) => Some("port exposing and the container type network mode"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: ContainerConfig, host: HostConfig) -> String {
        let bridge = Bridge::new("keel0", "10.87.0.0/16").unwrap();
        check(&bridge, &config, &host).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    fn list(text: &str) -> Option<Vec<String>> {
        Some(vec![text.to_owned()])
    }

    #[test]
    fn what_goes_together_is_fine() {
        let config = || ContainerConfig {
            hostname: Some("web".to_owned()),
            exposed_ports: list("80/tcp"),
            ..Default::default()
        };
        let host = HostConfig {
            links: list("db"),
            dns: list("192.0.2.1"),
            extra_hosts: list("h:host-gateway"),
            ..Default::default()
        };
        assert_eq!(refused(config(), host), "fine");
        let host =
            HostConfig { network_mode: Some("host".to_owned()), publish_all_ports: Some(true), ..Default::default() };
        assert_eq!(refused(config(), host), "fine");
    }

    #[test]
    fn what_does_not_is_refused_as_docker_does() {
        let in_mode = |mode: &str| HostConfig { network_mode: Some(mode.to_owned()), ..Default::default() };
        let plain = ContainerConfig::default;
        let named = ContainerConfig { hostname: Some("web".to_owned()), ..plain() };
        let exposing = ContainerConfig { exposed_ports: list("80/tcp"), ..plain() };
        for (config, host, why) in [
            (
                plain(),
                HostConfig { links: list("db"), ..in_mode("host") },
                "host type networking can't be used with links",
            ),
            (
                plain(),
                HostConfig { links: list("db"), ..in_mode("container:a") },
                "container type network can't be used with links",
            ),
            (named.clone(), in_mode("container:a"), "hostname and the network mode"),
            (named, HostConfig { uts_mode: Some("host".to_owned()), ..in_mode("bridge") }, "hostname and the UTS mode"),
            (plain(), HostConfig { dns: list("192.0.2.1"), ..in_mode("container:a") }, "dns and the network mode"),
            (
                plain(),
                HostConfig { extra_hosts: list("a:192.0.2.1"), ..in_mode("container:a") },
                "custom host-to-IP mapping",
            ),
            (plain(), HostConfig { publish_all_ports: Some(true), ..in_mode("container:a") }, "port publishing and"),
            (exposing, in_mode("container:a"), "port exposing and"),
        ] {
            let text = refused(config, host);
            assert!(text.starts_with(&format!("conflicting options: {why}")), "{text}, not {why}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let plain = ContainerConfig::default;
        assert_eq!(refused(plain(), HostConfig { dns: list("x"), ..Default::default() }), "x is not an ip address");
        assert_eq!(
            refused(plain(), HostConfig { links: list("a:b:c"), ..Default::default() }),
            "bad format for links: a:b:c"
        );
        assert_eq!(
            refused(plain(), HostConfig { extra_hosts: list("a"), ..Default::default() }),
            "bad format for add-host: \"a\""
        );
        let exposing = ContainerConfig { exposed_ports: list("x/tcp"), ..plain() };
        assert_eq!(refused(exposing, HostConfig::default()), "invalid port: 'x/tcp'");
    }
}
