//! Owns whom CoreDNS asks what the cluster does not know, from what the host resolves names by. Pure.

use std::net::IpAddr;

/// systemd-resolved for whoever asks as a server does: it passes on what it is asked, to the servers that the
/// host has at that moment, and answers that it cannot while there are none.
const RESOLVED: &str = "127.0.0.54";
/// systemd-resolved for the programs of the host.
const STUB: &str = "127.0.0.53";
/// More than this CoreDNS does not take.
const MOST: usize = 15;

/// The host's files; none where there is no such file.
#[derive(Debug, Clone, Default)]
pub struct Resolvers {
    /// That which names systemd-resolved, unless it is told not to listen.
    pub stub: Option<String>,
    /// The servers that systemd-resolved knows.
    pub resolved: Option<String>,
    /// What programs read.
    pub libc: Option<String>,
}

/// The servers to ask; with none of them CoreDNS answers for the cluster alone, and starts all the same. `own` are
/// the addresses that would lead back to it.
pub fn forward(host: &Resolvers, own: &[IpAddr]) -> Vec<String> {
    let names_stub = |text: &Option<String>| text.as_deref().is_some_and(|text| servers(text).any(|it| it == STUB));
    // Servers that DHCP brings later need not be waited for, then.
    if names_stub(&host.stub) || names_stub(&host.libc) {
        return vec![RESOLVED.to_owned()];
    }
    let from = |text: &Option<String>| -> Vec<String> {
        let addresses = text.iter().flat_map(|text| servers(text)).filter_map(|word| word.parse::<IpAddr>().ok());
        addresses.filter(|address| !own.contains(address)).take(MOST).map(|address| address.to_string()).collect()
    };
    match from(&host.resolved) {
        none if none.is_empty() => from(&host.libc),
        servers => servers,
    }
}

/// The words after `nameserver`.
fn servers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(stub: &str, resolved: &str, libc: &str) -> Vec<String> {
        let file = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let host = Resolvers { stub: file(stub), resolved: file(resolved), libc: file(libc) };
        forward(&host, &["10.77.0.2".parse().unwrap()])
    }

    #[test]
    fn resolved_is_asked_where_it_listens_whatever_it_knows_yet() {
        let stub = "# systemd\nnameserver 127.0.0.53\noptions edns0\n";
        assert_eq!(asked(stub, "# No DNS servers known.\n", stub), ["127.0.0.54"]);
        assert_eq!(asked("", "", stub), ["127.0.0.54"]);
    }

    #[test]
    fn where_it_does_not_listen_the_servers_are_asked() {
        let real = "nameserver 192.0.2.1\nnameserver 10.77.0.2\nnameserver fe80::1%eth0\nnameserver 2001:db8::1\n";
        assert_eq!(asked(real, real, "nameserver 192.0.2.9\n"), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(asked("", "", "search x\nnameserver 192.0.2.9 # it\n"), ["192.0.2.9"]);
    }

    #[test]
    fn a_host_without_servers_has_none() {
        assert_eq!(asked("", "", ""), Vec::<String>::new());
        assert_eq!(asked("", "", "nameserver 10.77.0.2\n"), Vec::<String>::new());
    }
}
