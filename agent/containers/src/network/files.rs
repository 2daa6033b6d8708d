//! Owns the files that tell a container of its network: `hosts`, `hostname` and `resolv.conf`. They
//! are written in place, so that a bind mount of them shows what changes.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use crate::error::{Error, Result};

/// The host's own list of names.
const HOST_HOSTS: &str = "/etc/hosts";
/// The host's own resolver.
const HOST_RESOLV: &str = "/etc/resolv.conf";
/// What systemd-resolved itself asks, where the host's file names only its stub.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// What stands for the host's address in `--add-host`.
const HOST_GATEWAY: &str = "host-gateway";

/// A line of `hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsEntry {
    /// The address.
    pub address: IpAddr,
    /// What it is called.
    pub names: Vec<String>,
}

/// What the files are to say.
#[derive(Debug, Clone, Default)]
pub struct FilesRequest {
    /// The container's hostname.
    pub hostname: String,
    /// Its domain, or nothing.
    pub domainname: String,
    /// Whether it uses the host's network.
    pub host_network: bool,
    /// Its address on the bridge.
    pub address: Option<IpAddr>,
    /// The host's address on the bridge: what `host-gateway` stands for.
    pub gateway: Option<IpAddr>,
    /// `--add-host`, each `NAME:ADDRESS`.
    pub extra_hosts: Vec<String>,
    /// Linked containers, from [`super::links::hosts`].
    pub links: Vec<HostsEntry>,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-search`; `.` alone means none.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
}

/// Writes the three files into the folder `dir`.
pub fn write(dir: &Path, request: &FilesRequest) -> Result<()> {
    let host_hosts = match request.host_network {
        true => std::fs::read_to_string(HOST_HOSTS).unwrap_or_default(),
        false => String::new(),
    };
    in_place(&dir.join("hosts"), &hosts(request, &host_hosts)?)?;
    in_place(&dir.join("hostname"), &format!("{}\n", request.hostname))?;
    in_place(&dir.join("resolv.conf"), &resolv(request, &host_resolver(request.host_network)))
}

/// Writes `hosts` alone: what changes when a linked container comes back under another address.
pub fn write_hosts(dir: &Path, request: &FilesRequest) -> Result<()> {
    let host_hosts = match request.host_network {
        true => std::fs::read_to_string(HOST_HOSTS).unwrap_or_default(),
        false => String::new(),
    };
    in_place(&dir.join("hosts"), &hosts(request, &host_hosts)?)
}

/// The same inode stays: a mount follows that, not the name.
fn in_place(path: &Path, content: &str) -> Result<()> {
    std::fs::write(path, content).map_err(|error| Error::failed(format!("write {}", path.display()), error))
}

fn host_resolver(host_network: bool) -> String {
    let read = |path: &str| -> io::Result<String> { std::fs::read_to_string(path) };
    let own = read(HOST_RESOLV).unwrap_or_default();
    if host_network || !only_stub(&own) {
        return own;
    }
    read(RESOLVED).unwrap_or(own)
}

/// Whether `resolv` names systemd-resolved's stub and nothing else.
fn only_stub(resolv: &str) -> bool {
    let mut servers = values(resolv, "nameserver").peekable();
    servers.peek().is_some() && servers.all(|server| server == "127.0.0.53")
}

/// The values of the lines of `resolv` that begin with `key`.
fn values<'a>(resolv: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    resolv.lines().filter_map(move |line| {
        line.trim().strip_prefix(key).filter(|rest| rest.starts_with([' ', '\t'])).map(str::trim)
    })
}

/// Checks `--add-host`: `NAME:ADDRESS`, where the address may be `host-gateway`.
pub fn extra_host(text: &str, gateway: Option<IpAddr>) -> Result<HostsEntry> {
    let (name, address) = match text.split_once(':') {
        Some((name, address)) if !name.is_empty() => (name, address),
        _ => return Err(Error::Invalid(format!("bad format for add-host: {text:?}"))),
    };
    let address = match address {
        HOST_GATEWAY => {
            gateway.ok_or_else(|| Error::Invalid("unable to derive the IP value for host-gateway".to_owned()))?
        }
        address => address
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| Error::Invalid(format!("invalid IP address in add-host: {address:?}")))?,
    };
    Ok(HostsEntry { address, names: vec![name.to_owned()] })
}

/// What `hosts` says; `host` is the host's own, for a container in its network.
fn hosts(request: &FilesRequest, host: &str) -> Result<String> {
    let mut text = match request.host_network {
        true => host.to_owned(),
        false => "127.0.0.1\tlocalhost\n\
            ::1\tlocalhost ip6-localhost ip6-loopback\n\
            fe00::\tip6-localnet\n\
            ff00::\tip6-mcastprefix\n\
            ff02::1\tip6-allnodes\n\
            ff02::2\tip6-allrouters\n"
            .to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut line = |entry: &HostsEntry| {
        // Writing to a string never fails.
        let _ = writeln!(text, "{}\t{}", entry.address, entry.names.join(" "));
    };
    for extra in &request.extra_hosts {
        line(&extra_host(extra, request.gateway)?);
    }
    request.links.iter().for_each(&mut line);
    if let Some(address) = request.address {
        let mut names = vec![request.hostname.clone()];
        if !request.domainname.is_empty() {
            names.insert(0, format!("{}.{}", request.hostname, request.domainname));
        }
        line(&HostsEntry { address, names });
    }
    Ok(text)
}

/// What `resolv.conf` says, of the host's and what is asked for. A container on the bridge can reach
/// no resolver on the host's loopback and none over IPv6: those are left out.
fn resolv(request: &FilesRequest, host: &str) -> String {
    let reachable = |server: &&str| match server.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => !address.is_loopback(),
        _ => false,
    };
    let mut text = String::new();
    let servers: Vec<&str> = match request.dns.as_slice() {
        [] => values(host, "nameserver").filter(|server| request.host_network || reachable(server)).collect(),
        asked => asked.iter().map(String::as_str).collect(),
    };
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    let search = match request.dns_search.as_slice() {
        [] => values(host, "search").last().unwrap_or_default().to_owned(),
        [none] if none == "." => String::new(),
        asked => asked.join(" "),
    };
    // The root alone says the same as nothing.
    if !search.is_empty() && search != "." {
        let _ = writeln!(text, "search {search}");
    }
    let options = match request.dns_options.as_slice() {
        [] => values(host, "options").collect::<Vec<_>>().join(" "),
        asked => asked.join(" "),
    };
    if !options.is_empty() {
        let _ = writeln!(text, "options {options}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn request() -> FilesRequest {
        FilesRequest {
            hostname: "web".to_owned(),
            address: Some(IpAddr::from([10, 87, 0, 2])),
            gateway: Some(IpAddr::from([10, 87, 0, 1])),
            ..FilesRequest::default()
        }
    }

    fn own_lines(request: &FilesRequest) -> Vec<String> {
        hosts(request, "").unwrap().lines().skip(6).map(str::to_owned).collect()
    }

    #[test]
    fn hosts_names_itself_the_linked_and_the_added() {
        let link =
            HostsEntry { address: IpAddr::from([10, 87, 0, 3]), names: vec!["db".to_owned(), "0123".to_owned()] };
        let extra_hosts = ["a:192.0.2.1", "b:::1", "c:[::2]", "h:host-gateway"].map(str::to_owned).to_vec();
        let request =
            FilesRequest { links: vec![link], extra_hosts, domainname: "example.org".to_owned(), ..request() };
        assert_eq!(
            own_lines(&request),
            [
                "192.0.2.1\ta",
                "::1\tb",
                "::2\tc",
                "10.87.0.1\th",
                "10.87.0.3\tdb 0123",
                "10.87.0.2\tweb.example.org web"
            ]
        );
        assert_eq!(hosts(&request, "").unwrap().lines().next(), Some("127.0.0.1\tlocalhost"));
    }

    #[test]
    fn in_the_hosts_network_hosts_is_the_hosts() {
        let extra_hosts = vec!["a:192.0.2.1".to_owned()];
        let request = FilesRequest { host_network: true, address: None, extra_hosts, ..request() };
        assert_eq!(hosts(&request, "127.0.0.1 x").unwrap(), "127.0.0.1 x\n192.0.2.1\ta\n");
    }

    #[test]
    fn bad_hosts_are_refused() {
        for (text, why) in [
            ("a", "bad format for add-host: \"a\""),
            (":1.2.3.4", "bad format for add-host: \":1.2.3.4\""),
            ("a:b", "invalid IP address in add-host: \"b\""),
        ] {
            assert_eq!(extra_host(text, None).unwrap_err().to_string(), why);
        }
        assert!(extra_host("h:host-gateway", None).is_err());
    }

    #[test]
    fn the_resolver_is_the_hosts_but_for_what_is_out_of_reach() {
        let host = "# made by hand\nnameserver 127.0.0.1\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nsearch example.org\noptions edns0 trust-ad\n";
        assert_eq!(resolv(&request(), host), "nameserver 192.0.2.53\nsearch example.org\noptions edns0 trust-ad\n");
        let own = FilesRequest { host_network: true, ..request() };
        assert!(
            resolv(&own, host).starts_with("nameserver 127.0.0.1\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\n")
        );
    }

    #[test]
    fn what_is_asked_for_goes_before_the_hosts() {
        let asked = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let request = FilesRequest {
            dns: asked(&["127.0.0.1", "2001:db8::1"]),
            dns_search: asked(&["a.example", "b.example"]),
            dns_options: asked(&["ndots:2"]),
            ..request()
        };
        assert_eq!(
            resolv(&request, "nameserver 192.0.2.53\nsearch x\noptions y\n"),
            "nameserver 127.0.0.1\nnameserver 2001:db8::1\nsearch a.example b.example\noptions ndots:2\n"
        );
        let none = FilesRequest { dns_search: asked(&["."]), ..self::request() };
        assert_eq!(resolv(&none, "nameserver 192.0.2.53\nsearch x\n"), "nameserver 192.0.2.53\n");
    }

    #[test]
    fn the_stub_of_resolved_is_known() {
        assert!(only_stub("nameserver 127.0.0.53\noptions edns0\n"));
        assert!(!only_stub("nameserver 127.0.0.53\nnameserver 192.0.2.1\n"));
        assert!(!only_stub(""));
    }

    #[test]
    fn files_are_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let inodes =
            || ["hosts", "hostname", "resolv.conf"].map(|name| dir.path().join(name).metadata().unwrap().ino());
        write(dir.path(), &request()).unwrap();
        let before = inodes();
        let moved = FilesRequest { address: Some(IpAddr::from([10, 87, 0, 9])), ..request() };
        write(dir.path(), &moved).unwrap();
        write_hosts(dir.path(), &moved).unwrap();
        assert_eq!(inodes(), before);
        let text = std::fs::read_to_string(dir.path().join("hosts")).unwrap();
        assert!(text.ends_with("10.87.0.9\tweb\n") && !text.contains("10.87.0.2"));
        assert_eq!(std::fs::read_to_string(dir.path().join("hostname")).unwrap(), "web\n");
    }
}
