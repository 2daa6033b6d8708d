//! Owns links (`--link NAME[:ALIAS]`): what a container is told of those it is linked to. Pure.

use std::net::IpAddr;

use super::files::HostsEntry;
use super::ports::{Port, Protocol};
use crate::error::{Error, Result};

/// A link as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The container to reach, by name or id.
    pub container: String,
    /// What it is called inside.
    pub alias: String,
}

impl Link {
    /// Reads `NAME`, `NAME:ALIAS`, or what `inspect` shows: `/NAME:/OWN/ALIAS`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::Invalid(format!("bad format for links: {text}"));
        let (container, alias) = text.split_once(':').unwrap_or((text, text));
        if alias.contains(':') {
            return Err(bad());
        }
        let alias = alias.rsplit('/').next().unwrap_or_default();
        let container = container.trim_start_matches('/');
        if container.is_empty() || alias.is_empty() {
            return Err(bad());
        }
        Ok(Self { container: container.to_owned(), alias: alias.to_owned() })
    }

    /// As `inspect` shows it in `HostConfig.Links`, with the linked container's `name` and the
    /// name of the container that has the link.
    pub fn shown(&self, name: &str, own: &str) -> String {
        let plain = |text: &str| text.trim_start_matches('/').to_owned();
        format!("/{}:/{}/{}", plain(name), plain(own), self.alias)
    }
}

/// A linked container as it runs now.
#[derive(Debug, Clone)]
pub struct Linked {
    /// What it is called inside.
    pub alias: String,
    /// Its name, without a slash.
    pub name: String,
    /// Its hostname: the short id unless asked for otherwise.
    pub hostname: String,
    /// Its address on the bridge.
    pub address: IpAddr,
    /// The ports that it exposes, `80/tcp`, those of its image too.
    pub exposed: Vec<String>,
    /// Its environment, that of its image too.
    pub env: Vec<String>,
}

/// The environment variables that tell the container `own` of `linked`, in the order of the links.
pub fn environment(own: &str, linked: &[Linked]) -> Vec<String> {
    linked.iter().flat_map(|linked| variables(own.trim_start_matches('/'), linked)).collect()
}

fn variables(own: &str, linked: &Linked) -> Vec<String> {
    let name = linked.alias.to_uppercase().replace('-', "_");
    let address = linked.address;
    let ports = sorted(&linked.exposed);
    let mut env = Vec::new();
    if let Some(Port { number, protocol }) = ports.first() {
        env.push(format!("{name}_PORT={protocol}://{address}:{number}"));
    }
    for range in ranges(&ports) {
        for Port { number, protocol } in range {
            let prefix = prefix(&name, *number, *protocol);
            env.push(format!("{prefix}={protocol}://{address}:{number}"));
            env.push(format!("{prefix}_ADDR={address}"));
            env.push(format!("{prefix}_PORT={number}"));
            env.push(format!("{prefix}_PROTO={protocol}"));
        }
        if let [first, .., last] = range {
            let protocol = first.protocol;
            let prefix = prefix(&name, first.number, protocol);
            env.push(format!("{prefix}_START={protocol}://{address}:{}", first.number));
            env.push(format!("{prefix}_PORT_START={}", first.number));
            env.push(format!("{prefix}_END={protocol}://{address}:{}", last.number));
            env.push(format!("{prefix}_PORT_END={}", last.number));
        }
    }
    env.push(format!("{name}_NAME=/{own}/{}", linked.alias));
    let own_env = linked.env.iter().filter_map(|variable| variable.split_once('='));
    // Every image sets these, and they say nothing of the linked container.
    let telling = own_env.filter(|(variable, _)| !matches!(*variable, "HOME" | "PATH"));
    env.extend(telling.map(|(variable, value)| format!("{name}_ENV_{variable}={value}")));
    env
}

fn prefix(name: &str, number: u16, protocol: Protocol) -> String {
    format!("{name}_PORT_{number}_{}", protocol.to_string().to_uppercase())
}

/// By protocol, TCP first, then by number. What is no port was refused when it was exposed.
fn sorted(exposed: &[String]) -> Vec<Port> {
    let mut ports: Vec<Port> = exposed.iter().filter_map(|text| text.parse().ok()).collect();
    ports.sort_by_key(|port| (port.protocol != Protocol::Tcp, port.protocol.to_string(), port.number));
    ports.dedup();
    ports
}

/// Runs of consecutive ports of one protocol.
fn ranges(ports: &[Port]) -> impl Iterator<Item = &[Port]> {
    ports.chunk_by(|a, b| a.protocol == b.protocol && a.number.checked_add(1) == Some(b.number))
}

/// The lines of `/etc/hosts` for `linked`: its address under its alias, its hostname and its name.
pub fn hosts(linked: &[Linked]) -> Vec<HostsEntry> {
    let entry = |linked: &Linked| {
        let mut names = vec![linked.alias.clone()];
        for name in [&linked.hostname, &linked.name] {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        HostsEntry { address: linked.address, names }
    };
    linked.iter().map(entry).collect()
}

/// Why `link` of the container `own` cannot be followed: the linked one does not run.
pub fn stopped(link: &Link, name: &str, own: &str) -> Error {
    let (name, own) = (name.trim_start_matches('/'), own.trim_start_matches('/'));
    Error::Conflict(format!("Cannot link to a non running container: /{name} AS /{own}/{}", link.alias))
}

/// The order to start containers in, so that each comes after those it is linked to. `links` gives,
/// for each container of `names`, the names of those; others are left out. A cycle is an error.
pub fn start_order(names: &[String], links: impl Fn(&str) -> Vec<String>) -> Result<Vec<String>> {
    let mut order = Vec::new();
    for name in names {
        visit(name, names, &links, &mut Vec::new(), &mut order)?;
    }
    Ok(order)
}

fn visit(
    name: &str,
    names: &[String],
    links: &impl Fn(&str) -> Vec<String>,
    above: &mut Vec<String>,
    order: &mut Vec<String>,
) -> Result<()> {
    if order.iter().any(|done| done == name) {
        return Ok(());
    }
    if above.iter().any(|one| one == name) {
        return Err(Error::Conflict(format!("containers are linked in a circle: {} -> {name}", above.join(" -> "))));
    }
    above.push(name.to_owned());
    for linked in links(name).iter().filter(|linked| names.contains(linked)) {
        visit(linked, names, links, above, order)?;
    }
    above.pop();
    order.push(name.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(exposed: &[&str], env: &[&str]) -> Linked {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        Linked {
            alias: "my-db".to_owned(),
            name: "postgres".to_owned(),
            hostname: "0123456789ab".to_owned(),
            address: IpAddr::from([10, 87, 0, 5]),
            exposed: owned(exposed),
            env: owned(env),
        }
    }

    #[test]
    fn links_are_read_as_written_and_as_shown() {
        let link = |container: &str, alias: &str| Link { container: container.to_owned(), alias: alias.to_owned() };
        assert_eq!(Link::parse("db").unwrap(), link("db", "db"));
        assert_eq!(Link::parse("db:store").unwrap(), link("db", "store"));
        assert_eq!(Link::parse("/db:/web/store").unwrap(), link("db", "store"));
        assert_eq!(link("db", "store").shown("/db", "web"), "/db:/web/store");
        for bad in ["", ":", "a:", ":a", "a:b:c"] {
            let text = Link::parse(bad).unwrap_err().to_string();
            assert_eq!(text, format!("bad format for links: {bad}"));
        }
    }

    #[test]
    fn one_port() {
        let env = environment("/web", &[linked(&["5432/tcp"], &["PATH=/bin", "HOME=/", "USER=me", "A=b=c", "bare"])]);
        assert_eq!(
            env,
            [
                "MY_DB_PORT=tcp://10.87.0.5:5432",
                "MY_DB_PORT_5432_TCP=tcp://10.87.0.5:5432",
                "MY_DB_PORT_5432_TCP_ADDR=10.87.0.5",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_NAME=/web/my-db",
                "MY_DB_ENV_USER=me",
                "MY_DB_ENV_A=b=c",
            ]
        );
    }

    #[test]
    fn ranges_have_a_start_and_an_end() {
        let env = environment("web", &[linked(&["81/tcp", "80/tcp", "53/udp", "82/tcp", "90/tcp"], &[])]);
        assert_eq!(env[0], "MY_DB_PORT=tcp://10.87.0.5:80");
        let around: Vec<_> = env.iter().filter(|line| line.contains("START") || line.contains("END")).collect();
        assert_eq!(
            around,
            [
                "MY_DB_PORT_80_TCP_START=tcp://10.87.0.5:80",
                "MY_DB_PORT_80_TCP_PORT_START=80",
                "MY_DB_PORT_80_TCP_END=tcp://10.87.0.5:82",
                "MY_DB_PORT_80_TCP_PORT_END=82",
            ]
        );
        assert!(env.contains(&"MY_DB_PORT_53_UDP_PROTO=udp".to_owned()));
        assert!(env.contains(&"MY_DB_PORT_90_TCP_ADDR=10.87.0.5".to_owned()));
    }

    #[test]
    fn without_ports_there_is_a_name() {
        assert_eq!(environment("web", &[linked(&[], &[])]), ["MY_DB_NAME=/web/my-db"]);
    }

    #[test]
    fn hosts_name_it_by_alias_hostname_and_name() {
        let entries = hosts(&[linked(&[], &[])]);
        assert_eq!(entries[0].names, ["my-db", "0123456789ab", "postgres"]);
        let same = Linked { alias: "postgres".to_owned(), ..linked(&[], &[]) };
        assert_eq!(hosts(&[same])[0].names, ["postgres", "0123456789ab"]);
    }

    #[test]
    fn linked_ones_start_first() {
        let names: Vec<String> = ["web", "app", "db"].map(str::to_owned).to_vec();
        let links = |name: &str| match name {
            "web" => vec!["app".to_owned(), "elsewhere".to_owned()],
            "app" => vec!["db".to_owned()],
            _ => Vec::new(),
        };
        assert_eq!(start_order(&names, links).unwrap(), ["db", "app", "web"]);
    }

    #[test]
    fn a_circle_is_told() {
        let names: Vec<String> = ["a", "b"].map(str::to_owned).to_vec();
        let error = start_order(&names, |name| vec![if name == "a" { "b" } else { "a" }.to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "containers are linked in a circle: a -> b -> a");
    }

    #[test]
    fn a_stopped_one_is_refused_as_docker_does() {
        let text = stopped(&Link::parse("db:store").unwrap(), "/db", "web").to_string();
        assert_eq!(text, "Cannot link to a non running container: /db AS /web/store");
    }
}
