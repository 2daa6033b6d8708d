//! Owns the default bridge as data: its name, its addresses, and the CNI configuration that makes it.

use std::net::Ipv4Addr;
use std::path::Path;

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The longest name of an interface that the kernel takes.
const NAME_LIMIT: usize = 15;

/// The default bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    name: String,
    subnet: Ipv4Net,
}

impl Bridge {
    /// Checks the name and the subnet that the command line gives.
    pub fn new(name: &str, subnet: &str) -> Result<Self> {
        let fits = !name.is_empty()
            && name.len() <= NAME_LIMIT
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !fits || name == "." || name == ".." {
            return Err(Error::Invalid(format!(
                "--bridge {name}: at most {NAME_LIMIT} letters, digits, '-', '_' or '.'"
            )));
        }
        let subnet: Ipv4Net = subnet
            .parse()
            .map_err(|_| Error::Invalid(format!("--subnet {subnet}: an IPv4 network like 10.87.0.0/16 is needed")))?;
        if subnet.prefix_len() > 29 {
            return Err(Error::Invalid(format!(
                "--subnet {subnet}: at most 29 bits, so that there are addresses to give"
            )));
        }
        Ok(Self { name: name.to_owned(), subnet: subnet.trunc() })
    }

    /// The name of its interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses.
    pub fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    /// Its own address: the first of the subnet.
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet.hosts().next().unwrap_or(self.subnet.network())
    }

    /// The CNI network: Debian's `bridge` with `host-local` addresses kept in `leases`.
    ///
    /// Masquerading and published ports are the business of our own table of nftables: the plugins'
    /// `ipMasq`, `firewall` and `portmap` each run iptables several times for every container.
    pub fn plugins(&self, leases: &Path) -> Vec<Value> {
        let pool = json!({ "subnet": self.subnet.to_string(), "gateway": self.gateway().to_string() });
        vec![json!({
            "type": "bridge",
            "bridge": self.name,
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "capabilities": { "mac": true, "ips": true },
            "ipam": {
                "type": "host-local",
                "dataDir": leases,
                "ranges": [[pool]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        })]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_the_bridges() {
        let bridge = Bridge::new("keel0", "10.87.3.9/16").unwrap();
        assert_eq!(bridge.subnet().to_string(), "10.87.0.0/16");
        assert_eq!(bridge.gateway().to_string(), "10.87.0.1");
        let plugins = bridge.plugins(Path::new("/run/x/leases"));
        assert_eq!(plugins[0]["ipam"]["dataDir"], "/run/x/leases");
        assert_eq!(plugins[0]["ipam"]["ranges"][0][0]["gateway"], "10.87.0.1");
    }

    #[test]
    fn what_cannot_be_a_bridge_is_refused() {
        for (name, subnet) in [
            ("", "10.0.0.0/16"),
            ("a-name-too-long-x", "10.0.0.0/16"),
            ("a b", "10.0.0.0/16"),
            ("..", "10.0.0.0/16"),
            ("a", "10.0.0.0"),
            ("a", "10.0.0.0/30"),
            ("a", "fd00::/64"),
        ] {
            assert!(matches!(Bridge::new(name, subnet), Err(Error::Invalid(_))), "{name} {subnet}");
        }
    }
}
