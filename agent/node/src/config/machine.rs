//! Owns what the configuration asks the machine: its name, its address, what manages it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;

/// Reads a file that the configuration names.
type Read<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// What the machine is, as far as defaults depend on it.
pub struct Facts<'a> {
    /// Its hostname.
    pub hostname: String,
    /// Whether systemd manages it.
    pub systemd: bool,
    /// Its address on the way to `HOST:PORT`.
    pub address: &'a dyn Fn(&str) -> io::Result<IpAddr>,
    /// Reads its files.
    pub read: Read<'a>,
}

impl Facts<'static> {
    /// Of the machine this runs on.
    pub fn of_this_machine() -> Self {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        Self {
            hostname: hostname.to_string_lossy().into_owned(),
            systemd: Path::new("/run/systemd/system").exists(),
            address: &address_towards,
            read: &|path| std::fs::read_to_string(path),
        }
    }
}

/// The address that packets to `server` leave with; where that is this machine, or cannot be looked
/// up, the address of the default route.
fn address_towards(server: &str) -> io::Result<IpAddr> {
    let found = server.to_socket_addrs().into_iter().flatten().find_map(|server| source(server).ok());
    if let Some(address) = found.filter(|address| !address.is_loopback()) {
        return Ok(address);
    }
    // Addresses for documentation: nothing is sent, the route alone is asked for.
    let outside = [SocketAddr::from(([192, 0, 2, 1], 9)), SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9))];
    let [four, six] = outside.map(source);
    four.or(six)
}

fn source(to: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// By what a machine is told from another of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identifiers {
    /// Of the installation: /etc/machine-id.
    pub machine_id: String,
    /// Of the hardware, or the virtual one; empty where it has none.
    pub system_uuid: String,
}

impl Identifiers {
    /// Of the machine this runs on.
    pub fn of_this_machine() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self { machine_id: read("/etc/machine-id"), system_uuid: read("/sys/class/dmi/id/product_uuid").to_lowercase() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_no_nodes_address() {
        // Without any route there is none at all.
        if let Ok(address) = address_towards("127.0.0.1:6443") {
            assert!(!address.is_loopback(), "{address}");
        }
        assert_eq!(source("127.0.0.1:9".parse().unwrap()).unwrap(), IpAddr::from([127, 0, 0, 1]));
    }
}
