//! Owns the short forms that Docker's users write: ports, sizes, lengths of time, devices. The
//! command line and the declarations read them alike.

use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{DeviceMapping, PortBinding, PortMap};

/// What is right, or what is wrong and what would be right.
pub type Checked<T> = Result<T, String>;

/// `512m`, `1.5G`, `64KiB`, `1024`: bytes, in powers of 1024 as Docker has it.
pub fn size(text: &str) -> Checked<i64> {
    let wrong = || format!("`{text}` is no size; write a number and a unit, like 512M or 2G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let power = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.trim().parse().map_err(|_| wrong())?;
    let bytes = number * 1024_f64.powi(power);
    if !bytes.is_finite() || !(0.0..9e18).contains(&bytes) {
        return Err(wrong());
    }
    Ok(bytes as i64)
}

/// `30s`, `1m30s`, `500ms`, `1h`.
pub fn duration(text: &str) -> Checked<Duration> {
    let wrong = || format!("`{text}` is no length of time; write 30s, 1m30s or 2h");
    humantime::parse_duration(text).map_err(|_| wrong())
}

/// One container port, `80/tcp`, with where it is published.
pub type Published = (String, PortBinding);

/// `[ADDRESS:][HOST:]CONTAINER[/PROTOCOL]`, added to `map`.
pub fn publish(text: &str, map: &mut PortMap) -> Checked<()> {
    for (port, binding) in published(text)? {
        map.entry(port).or_default().get_or_insert_default().push(binding);
    }
    Ok(())
}

/// `[ADDRESS:][HOST:]CONTAINER[/PROTOCOL]`, each side a port or a range of them. Without HOST the
/// host chooses a port, with a range for one container port it chooses one of these.
pub fn published(text: &str) -> Checked<Vec<Published>> {
    let wrong = |why: &str| format!("invalid port `{text}`: {why}; write [ADDRESS:][HOST:]CONTAINER[/PROTOCOL]");
    let (address, outside, inside) = sides(text);
    let (inside, protocol) = exposed_range(inside).map_err(|why| wrong(&why))?;
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(wrong("the address is no IP address"));
    }
    let bind = |port: String| PortBinding { host_ip: Some(address.to_owned()), host_port: Some(port) };
    let outside_range = match outside {
        "" => None,
        text => Some(range(text).ok_or_else(|| wrong("invalid hostPort: ports are numbers from 1 to 65535"))?),
    };
    let container = |port: u16| format!("{port}/{protocol}");
    match outside_range {
        None => Ok(inside.map(|port| (container(port), bind(String::new()))).collect()),
        Some(hosts) if hosts.len() == inside.len() => {
            Ok(inside.zip(hosts).map(|(port, host)| (container(port), bind(host.to_string()))).collect())
        }
        Some(_) if inside.len() == 1 => Ok(inside.map(|port| (container(port), bind(outside.to_owned()))).collect()),
        Some(_) => Err(wrong("the ranges are of different length")),
    }
}

/// `CONTAINER[/PROTOCOL]`, a port or a range of them: `80/tcp`, …
pub fn exposed(text: &str) -> Checked<Vec<String>> {
    let (ports, protocol) =
        exposed_range(text).map_err(|why| format!("invalid port `{text}`: {why}; write CONTAINER[/PROTOCOL]"))?;
    Ok(ports.map(|port| format!("{port}/{protocol}")).collect())
}

/// The address, the host's and the container's part; any but the last may be empty.
fn sides(text: &str) -> (&str, &str, &str) {
    let (rest, inside) = text.rsplit_once(':').unwrap_or(("", text));
    let (address, outside) = match rest.rsplit_once(':') {
        // `[::1]:80`: an address and no port of the host.
        _ if rest.ends_with(']') => (rest, ""),
        Some(parts) => parts,
        None => ("", rest),
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    (bare, outside, inside)
}

fn exposed_range(text: &str) -> Checked<(std::ops::RangeInclusive<u16>, String)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err("the protocol is tcp, udp or sctp".to_owned());
    }
    let ports = range(ports).ok_or("invalid containerPort: ports are numbers from 1 to 65535")?;
    Ok((ports, protocol))
}

/// `8000` or `8000-8010`.
fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse::<u16>().ok()?, last.parse::<u16>().ok()?);
    (0 < first && first <= last).then_some(first..=last)
}

/// `HOST[:CONTAINER[:rwm]]`.
pub fn device(text: &str) -> Checked<DeviceMapping> {
    let parts: Vec<&str> = text.split(':').collect();
    let allowed = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let (host, inside, access) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, access] if allowed(access) => (host, host, access),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access] if allowed(access) => (host, inside, access),
        _ => ("", "", ""),
    };
    if !host.starts_with('/') || !inside.starts_with('/') {
        return Err(format!("invalid device `{text}`; write HOST[:CONTAINER[:rwm]], like /dev/fuse"));
    }
    Ok(DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(access.to_owned()),
    })
}

/// A name that a container, a volume or a network may have.
pub fn name(text: &str) -> Checked<()> {
    let good = |(index, c): (usize, char)| c.is_ascii_alphanumeric() || (index > 0 && "_.-".contains(c));
    if text.len() > 1 && text.char_indices().all(good) {
        return Ok(());
    }
    Err(format!("Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_powers_of_1024() {
        assert_eq!(size("1024"), Ok(1024));
        assert_eq!(size("512m"), Ok(512 << 20));
        assert_eq!(size("1.5G"), Ok(3 << 29));
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("10b"), Ok(10));
        for wrong in ["", "m", "-1m", "5x", "1e400"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("30").unwrap_err().contains("write 30s"));
    }

    fn published(text: &str) -> Vec<String> {
        let mut map = PortMap::new();
        publish(text, &mut map).unwrap();
        let mut all: Vec<String> = map
            .into_iter()
            .flat_map(|(inside, bindings)| bindings.unwrap_or_default().into_iter().map(move |b| (inside.clone(), b)))
            .map(|(inside, b)| {
                format!("{}:{}:{inside}", b.host_ip.unwrap_or_default(), b.host_port.unwrap_or_default())
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        assert_eq!(published("80"), ["::80/tcp"]);
        assert_eq!(published("8080:80"), [":8080:80/tcp"]);
        assert_eq!(published("127.0.0.1:8080:80/udp"), ["127.0.0.1:8080:80/udp"]);
        assert_eq!(published("127.0.0.1::80"), ["127.0.0.1::80/tcp"]);
        assert_eq!(published("[::1]:8080:80"), ["::1:8080:80/tcp"]);
        assert_eq!(published("8000-8001:80-81"), [":8000:80/tcp", ":8001:81/tcp"]);
        assert_eq!(published("8000-9000:80"), [":8000-9000:80/tcp"]);
        assert_eq!(exposed("90-91/udp"), Ok(vec!["90/udp".into(), "91/udp".into()]));
        for wrong in ["", "0", "80:", "x:80", "70000", "1-2:3-5", "80/icmp", "a.b:80:80"] {
            assert!(publish(wrong, &mut PortMap::new()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices_have_paths_and_access() {
        let read = |text: &str| device(text).map(|d| (d.path_in_container.unwrap(), d.cgroup_permissions.unwrap()));
        assert_eq!(read("/dev/fuse"), Ok(("/dev/fuse".into(), "rwm".into())));
        assert_eq!(read("/dev/sda:r"), Ok(("/dev/sda".into(), "r".into())));
        assert_eq!(read("/dev/sda:/dev/xvda:rw"), Ok(("/dev/xvda".into(), "rw".into())));
        assert!(device("fuse").is_err());
    }

    #[test]
    fn names_are_dockers() {
        assert!(name("web_1.a-b").is_ok());
        for wrong in ["", "a", "-a", "a b", "a/b"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
