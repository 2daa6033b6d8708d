//! Owns port mappings: `[[ADDRESS:]HOST_PORT:]PORT[/PROTOCOL]`, with ranges.

use std::net::IpAddr;

use bollard::models::{PortBinding, PortMap};

/// One container port, with where it is published.
pub type Published = (String, PortBinding);

/// What one `--publish` maps: a pair for every port of a range.
pub fn publish(text: &str) -> Result<Vec<Published>, String> {
    let (address, host, container) = parts(text)?;
    let (container, protocol) = with_protocol(container)?;
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {address}"));
    }
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let ports = range(container).map_err(|why| format!("invalid containerPort: {container}: {why}"))?;
    let hosts = match host {
        "" => None,
        host => Some(range(host).map_err(|why| format!("invalid hostPort: {host}: {why}"))?),
    };
    let bind = |host_port: String| PortBinding { host_ip: Some(address.to_owned()), host_port: Some(host_port) };
    let Some((first, last)) = hosts else {
        return Ok((ports.0..=ports.1).map(|port| (format!("{port}/{protocol}"), bind(String::new()))).collect());
    };
    if last - first != ports.1 - ports.0 {
        if ports.0 != ports.1 {
            return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
        }
        return Ok(vec![(format!("{}/{protocol}", ports.0), bind(host.to_owned()))]);
    }
    Ok((ports.0..=ports.1)
        .zip(first..=last)
        .map(|(port, host)| (format!("{port}/{protocol}"), bind(host.to_string())))
        .collect())
}

/// What one `--expose` names.
pub fn expose(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = with_protocol(text)?;
    let (first, last) = range(ports).map_err(|why| format!("invalid range format for --expose: {text}: {why}"))?;
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Gathers mappings by container port.
pub fn map(all: impl IntoIterator<Item = Published>) -> PortMap {
    let mut map = PortMap::new();
    for (port, binding) in all {
        map.entry(port).or_default().get_or_insert_default().push(binding);
    }
    map
}

/// The address, the host's and the container's part.
fn parts(text: &str) -> Result<(&str, &str, &str), String> {
    let Some((rest, container)) = text.rsplit_once(':') else { return Ok(("", "", text)) };
    let (address, host) = match rest.rsplit_once(':') {
        None => ("", rest),
        // 1.2.3.4::80: the host's port is left to the daemon.
        Some((address, host)) => (address, host),
    };
    let address = match address.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']').ok_or_else(|| format!("invalid IP address: {address}"))?,
        None => address,
    };
    Ok((address, host, container))
}

fn with_protocol(text: &str) -> Result<(&str, String), String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match protocol.to_lowercase().as_str() {
        protocol @ ("tcp" | "udp" | "sctp") => Ok((port, protocol.to_owned())),
        _ => Err(format!("invalid proto: {protocol}")),
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("'{text}' is no port"));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if last < first { Err(format!("invalid range specified for port: {text}")) } else { Ok((first, last)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<String>, String> {
        let show =
            |(port, binding): Published| format!("{}|{}|{port}", binding.host_ip.unwrap(), binding.host_port.unwrap());
        Ok(publish(text)?.into_iter().map(show).collect())
    }

    #[test]
    fn every_form() {
        for (text, expected) in [
            ("80", &["||80/tcp"][..]),
            ("8080:80", &["|8080|80/tcp"]),
            ("8080:80/UDP", &["|8080|80/udp"]),
            ("127.0.0.1:8080:80", &["127.0.0.1|8080|80/tcp"]),
            ("127.0.0.1::80", &["127.0.0.1||80/tcp"]),
            ("[::1]:8080:80", &["::1|8080|80/tcp"]),
            ("::1:8080:80", &["::1|8080|80/tcp"]),
            ("8080-8081:80-81", &["|8080|80/tcp", "|8081|81/tcp"]),
            ("8000-9000:80", &["|8000-9000|80/tcp"]),
            ("90-91", &["||90/tcp", "||91/tcp"]),
        ] {
            assert_eq!(of(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(of("80:"), Err("no port specified: 80:<empty>".to_owned()));
        assert_eq!(of("80/foo"), Err("invalid proto: foo".to_owned()));
        assert_eq!(of("x:80:80"), Err("invalid IP address: x".to_owned()));
        assert!(of("x").unwrap_err().starts_with("invalid containerPort: x"));
        assert!(of("70000:80").unwrap_err().starts_with("invalid hostPort: 70000"));
        assert!(of("81-80").is_err() && of("80-81:90-92").is_err() && of("").is_err());
    }

    #[test]
    fn exposed_ranges() {
        assert_eq!(expose("90-91/udp").unwrap(), ["90/udp", "91/udp"]);
        assert!(expose("a").is_err());
    }
}
