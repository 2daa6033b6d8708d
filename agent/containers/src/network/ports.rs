//! Owns published ports: what is asked for, which port of the host each gets, and holding those so
//! that nothing else takes them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use bollard::models::PortBinding;
pub use bollard::models::PortMap;

use super::rules::Forward;
use crate::error::{Error, Result};

/// What a port is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port of a container, written `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Of what.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.protocol)
    }
}

impl FromStr for Port {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => return Err(Error::Invalid(format!("invalid proto: {other}"))),
        };
        match number.parse() {
            Ok(0) | Err(_) => Err(Error::Invalid(format!("invalid port: '{text}'"))),
            Ok(number) => Ok(Self { number, protocol }),
        }
    }
}

/// What a container asks for: its exposed ports (also those of its image), what `-p` binds, and
/// whether `-P` publishes every exposed one. A port without bindings is exposed but not published.
pub fn requested(exposed: &[String], bindings: Option<&PortMap>, publish_all: bool) -> Result<PortMap> {
    let mut wanted = PortMap::new();
    for text in exposed {
        for port in range_of_exposed(text)? {
            let any = PortBinding { host_ip: None, host_port: None };
            wanted.insert(port.to_string(), publish_all.then(|| vec![any]));
        }
    }
    for (text, bindings) in bindings.into_iter().flatten() {
        let port: Port = text.parse()?;
        let bindings = bindings.as_deref().unwrap_or_default();
        for binding in bindings {
            parse(binding)?;
        }
        let bound = match bindings {
            [] => vec![PortBinding::default()],
            bindings => bindings.to_vec(),
        };
        wanted.insert(port.to_string(), Some(bound));
    }
    Ok(wanted)
}

/// `EXPOSE` takes ranges: `8000-8003/tcp`.
fn range_of_exposed(text: &str) -> Result<Vec<Port>> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let Some((first, last)) = numbers.split_once('-') else { return Ok(vec![text.parse()?]) };
    let first: Port = format!("{first}/{protocol}").parse()?;
    let last: Port = format!("{last}/{protocol}").parse()?;
    if last.number < first.number {
        return Err(Error::Invalid(format!("invalid port range: '{text}'")));
    }
    Ok((first.number..=last.number).map(|number| Port { number, ..first }).collect())
}

/// Where a binding wants to be on the host: the address, and one of these ports (any, when none).
fn parse(binding: &PortBinding) -> Result<(Ipv4Addr, Option<RangeInclusive<u16>>)> {
    let address = match binding.host_ip.as_deref().unwrap_or_default() {
        "" => Ipv4Addr::UNSPECIFIED,
        text => match text.parse() {
            Ok(IpAddr::V4(address)) => address,
            Ok(IpAddr::V6(_)) => {
                return Err(Error::Invalid(format!(
                    "cannot publish on {text}: ports are published on IPv4 addresses only"
                )));
            }
            Err(_) => return Err(Error::Invalid(format!("invalid IP address: {text}"))),
        },
    };
    let text = binding.host_port.as_deref().unwrap_or_default();
    let bad = || Error::Invalid(format!("invalid port specification: \"{text}\""));
    let number = |text: &str| text.parse::<u16>().map_err(|_| bad());
    let ports = match text.split_once('-') {
        None if text.is_empty() || text == "0" => None,
        None => Some(number(text)?..=number(text)?),
        Some((first, last)) => Some(number(first)?..=number(last)?),
    };
    match ports {
        Some(range) if range.is_empty() || *range.start() == 0 => Err(bad()),
        ports => Ok((address, ports)),
    }
}

/// A port of the host, kept from everyone else for as long as this lives. What comes in is sent on
/// by the packet filter before it would reach the socket. The standard library has no SCTP: there
/// only the ports of other containers are known.
#[derive(Debug)]
pub struct Held {
    _socket: Option<OwnedFd>,
}

fn hold(protocol: Protocol, address: Ipv4Addr, port: u16) -> io::Result<(Held, u16)> {
    let at = SocketAddrV4::new(address, port);
    let (socket, port) = match protocol {
        Protocol::Tcp => {
            let socket = TcpListener::bind(at)?;
            let port = socket.local_addr()?.port();
            (Some(socket.into()), port)
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(at)?;
            let port = socket.local_addr()?.port();
            (Some(socket.into()), port)
        }
        Protocol::Sctp => (None, port),
    };
    Ok((Held { _socket: socket }, port))
}

/// Finds and holds a port of the host for every binding of `wanted`; gives the map as Docker shows
/// it. Ports of `taken` belong to other containers.
pub(super) fn reserve(wanted: &PortMap, taken: &[Forward]) -> Result<(PortMap, Vec<Held>)> {
    let mut found = PortMap::new();
    let mut held = Vec::new();
    // Ordered, so that ranges are given out in the order of the container's ports.
    let mut ordered = BTreeMap::new();
    for (text, bindings) in wanted {
        ordered.insert(text.parse::<Port>()?, bindings);
    }
    for (port, bindings) in ordered {
        let mut bound = Vec::new();
        for binding in bindings.iter().flatten() {
            let (address, candidates) = parse(binding)?;
            let (socket, number) = first_free(port.protocol, address, candidates, taken)?;
            held.push(socket);
            bound.push(PortBinding { host_ip: Some(address.to_string()), host_port: Some(number.to_string()) });
        }
        found.insert(port.to_string(), bindings.as_ref().map(|_| bound));
    }
    Ok((found, held))
}

fn first_free(
    protocol: Protocol,
    address: Ipv4Addr,
    candidates: Option<RangeInclusive<u16>>,
    taken: &[Forward],
) -> Result<(Held, u16)> {
    let refused = |port: u16, why: &dyn fmt::Display| Error::Failed(format!("Bind for {address}:{port} failed: {why}"));
    let Some(range) = candidates else {
        // The kernel gives a free one of its ephemeral range.
        return hold(protocol, address, 0).map_err(|error| refused(0, &error));
    };
    let last = *range.end();
    for port in range {
        let clash = |other: &Forward| {
            let overlap = other.host == address || other.host.is_unspecified() || address.is_unspecified();
            other.protocol == protocol && other.host_port == port && overlap
        };
        if !taken.iter().any(clash) {
            match hold(protocol, address, port) {
                Ok(held) => return Ok(held),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(refused(port, &error)),
            }
        }
    }
    Err(refused(last, &"port is already allocated"))
}

/// What the packet filter has to send to the container at `address`.
pub(super) fn forwards(address: Ipv4Addr, ports: &PortMap) -> Vec<Forward> {
    let read = |(text, bindings): (&String, &Option<Vec<PortBinding>>)| {
        let port: Port = text.parse().ok()?;
        let forward = move |binding: &PortBinding| {
            let (host, candidates) = parse(binding).ok()?;
            let host_port = *candidates?.start();
            Some(Forward { protocol: port.protocol, host, host_port, container: address, container_port: port.number })
        };
        Some(bindings.iter().flatten().filter_map(forward).collect::<Vec<_>>())
    };
    ports.iter().filter_map(read).flatten().collect()
}

/// Whether any port is published.
pub(super) fn published(ports: &PortMap) -> bool {
    ports.values().flatten().any(|bindings| !bindings.is_empty())
}

/// Holds again what an earlier daemon gave out; what something else took meanwhile is told.
pub(super) fn hold_again(ports: &PortMap) -> Vec<Held> {
    let again = |forward: Forward| match hold(forward.protocol, forward.host, forward.host_port) {
        Ok((held, _)) => Some(held),
        Err(error) => {
            let Forward { protocol, host, host_port, .. } = forward;
            tracing::warn!(port = %format!("{host}:{host_port}/{protocol}"), %error, "a published port is also in use by another program");
            None
        }
    };
    forwards(Ipv4Addr::UNSPECIFIED, ports).into_iter().filter_map(again).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(ip: &str, port: &str) -> PortBinding {
        PortBinding { host_ip: Some(ip.to_owned()), host_port: Some(port.to_owned()) }
    }

    fn asks(list: &[(&str, &str, &str)]) -> PortMap {
        let mut map = PortMap::new();
        for (port, ip, host) in list {
            map.entry((*port).to_owned()).or_default().get_or_insert_default().push(binding(ip, host));
        }
        map
    }

    fn taken(port: u16, host: [u8; 4], protocol: Protocol) -> Forward {
        let container = Ipv4Addr::new(10, 87, 0, 2);
        Forward { protocol, host: host.into(), host_port: port, container, container_port: 80 }
    }

    /// Ports that were free a moment ago: one TCP socket takes each, the next test another.
    fn free_port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn ports_are_read() {
        assert_eq!("80".parse::<Port>().unwrap().to_string(), "80/tcp");
        assert_eq!("53/UDP".parse::<Port>().unwrap().to_string(), "53/udp");
        for bad in ["", "0/tcp", "70000", "x/tcp"] {
            assert_eq!(bad.parse::<Port>().unwrap_err().to_string(), format!("invalid port: '{bad}'"));
        }
        assert_eq!("80/icmp".parse::<Port>().unwrap_err().to_string(), "invalid proto: icmp");
    }

    #[test]
    fn exposed_ports_are_published_when_asked() {
        let exposed = ["80/tcp", "8000-8001/udp"].map(str::to_owned);
        let shown = requested(&exposed, None, false).unwrap();
        assert_eq!(shown.len(), 3);
        assert!(shown.values().all(Option::is_none) && !published(&shown));
        let all = requested(&exposed, None, true).unwrap();
        assert!(
            all.contains_key("8001/udp")
                && all.values().all(|bindings| bindings.as_ref().is_some_and(|b| b.len() == 1))
        );
        let own = requested(&exposed, Some(&asks(&[("80/tcp", "", "8080")])), true).unwrap();
        assert_eq!(own["80/tcp"], Some(vec![binding("", "8080")]));
    }

    #[test]
    fn bad_bindings_are_refused_before_anything_starts() {
        for (ip, port, why) in [
            ("x", "80", "invalid IP address: x"),
            ("::1", "80", "cannot publish on ::1: ports are published on IPv4 addresses only"),
            ("", "x", "invalid port specification: \"x\""),
            ("", "90-80", "invalid port specification: \"90-80\""),
            ("", "0-80", "invalid port specification: \"0-80\""),
        ] {
            let refused = requested(&[], Some(&asks(&[("80/tcp", ip, port)])), false);
            assert_eq!(refused.unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn any_port_is_one_of_the_kernels() {
        let (found, held) = reserve(&asks(&[("80/tcp", "127.0.0.1", ""), ("53/udp", "127.0.0.1", "0")]), &[]).unwrap();
        assert_eq!(held.len(), 2);
        for port in ["80/tcp", "53/udp"] {
            let bound = found[port].as_ref().unwrap();
            assert_ne!(bound[0].host_port.as_deref(), Some("0"));
            assert_eq!(forwards(Ipv4Addr::LOCALHOST, &found).len(), 2);
        }
    }

    #[test]
    fn a_port_is_held_until_it_is_let_go() {
        let port = free_port();
        let wanted = asks(&[("80/tcp", "127.0.0.1", &port.to_string())]);
        let (_, held) = reserve(&wanted, &[]).unwrap();
        let refused = format!("Bind for 127.0.0.1:{port} failed: port is already allocated");
        assert_eq!(reserve(&wanted, &[]).unwrap_err().to_string(), refused);
        drop(held);
        assert!(reserve(&wanted, &[]).is_ok());
    }

    #[test]
    fn ports_of_other_containers_are_taken() {
        let port = free_port();
        let text = port.to_string();
        let clash = |ip: &str, other: Forward| reserve(&asks(&[("80/tcp", ip, &text)]), &[other]).is_err();
        assert!(clash("127.0.0.1", taken(port, [0, 0, 0, 0], Protocol::Tcp)));
        assert!(clash("", taken(port, [192, 0, 2, 1], Protocol::Tcp)));
        assert!(!clash("127.0.0.1", taken(port, [192, 0, 2, 1], Protocol::Tcp)));
        assert!(!clash("127.0.0.1", taken(port, [127, 0, 0, 1], Protocol::Udp)));
    }

    #[test]
    fn a_range_gives_its_first_free_port() {
        let first = free_port();
        let range = format!("{first}-{}", first.saturating_add(20));
        let other = taken(first, [127, 0, 0, 1], Protocol::Tcp);
        let (found, _held) = reserve(&asks(&[("80/tcp", "127.0.0.1", &range)]), &[other]).unwrap();
        let got: u16 = found["80/tcp"].as_ref().unwrap()[0].host_port.as_deref().unwrap().parse().unwrap();
        assert!(got > first);
    }
}
