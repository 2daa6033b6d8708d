//! Owns the settings of a master: what its configuration says, checked, with defaults and the host's
//! own address filled in.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;
use keelson_common::master::{MasterConfig, Networks, network};
use keelson_common::strict::Source;

/// The API server's port.
pub const PORT: u16 = 6443;
/// How often it is looked for an address, and how often that is said.
const LOOK: Duration = Duration::from_secs(2);

/// What a master is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where nodes reach the API server.
    pub address: IpAddr,
    /// Further names and addresses of it.
    pub names: Vec<String>,
    /// Addresses of pods.
    pub pods: IpNet,
    /// Addresses of Services.
    pub services: IpNet,
    /// The cluster's DNS; none where somebody else runs it, or nobody.
    pub dns: Option<Dns>,
}

/// The cluster's DNS on the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Where pods find it: the tenth address of the Services, as everywhere.
    pub service: IpAddr,
    /// Networks that may ask it besides those that always may.
    pub clients: Vec<IpNet>,
}

impl Settings {
    /// Reads the configuration; the host is asked for its address where that does not tell it.
    pub fn read(path: &Path) -> Result<Self> {
        let config = config(path)?;
        let address = match config.address {
            Some(address) => address,
            None => outward().context(
                "this host has no address yet by which it reaches others; give `address` in the master's configuration",
            )?,
        };
        Self::new(&config, address)
    }

    /// Returns once the host has an address, where the configuration tells none: DHCP may answer late.
    pub fn await_address(path: &Path) -> Result<()> {
        let mut said = false;
        while config(path)?.address.is_none() && outward().is_none() {
            if !std::mem::replace(&mut said, true) {
                tracing::warn!("this host has no address yet by which it reaches others; waiting for one");
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Checks a configuration.
    pub fn new(config: &MasterConfig, address: IpAddr) -> Result<Self> {
        let (pods, services) = (config.pod_network.as_deref(), config.service_network.as_deref());
        let networks = Networks::new(pods, services, Some(address), config.dns.unwrap_or(true));
        let Networks { pods, services, dns } = networks.map_err(anyhow::Error::msg)?;
        let clients = config.dns_clients.iter().map(|text| network(text, "dns-clients"));
        let clients = clients.collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
        let dns = dns.map(|service| Dns { service, clients });
        Ok(Self { address, names: config.names.clone(), pods, services, dns })
    }

    /// The API server, for nodes.
    pub fn server(&self) -> String {
        format!("https://{}", SocketAddr::new(self.address, PORT))
    }

    /// Its address as pods see it: the first of the Services.
    pub fn service_address(&self) -> IpAddr {
        self.services.hosts().next().unwrap_or(self.services.network())
    }

    /// What the API server is called inside, and on this host.
    pub fn inner_names(&self) -> Vec<String> {
        let fixed =
            ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
        let mut names: Vec<String> = fixed.into_iter().map(str::to_owned).collect();
        names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
        names.push(self.service_address().to_string());
        names
    }

    /// What others outside know it by: the host's own address, and further names.
    pub fn outer_names(&self) -> Vec<String> {
        [vec![self.address.to_string()], self.names.clone()].concat()
    }

    /// Everything that the API server is called.
    pub fn server_names(&self) -> Vec<String> {
        let mut names = [self.inner_names(), self.outer_names()].concat();
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// Variables for the servers' units.
    pub fn environment(&self) -> String {
        let Self { address, pods, services, .. } = self;
        format!("ADDRESS={address}\nPOD_NETWORK={pods}\nSERVICE_NETWORK={services}\n")
    }
}

fn config(path: &Path) -> Result<MasterConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let config = MasterConfig::read(&Source { path: path.to_owned(), text });
    config.map_err(|problem| anyhow::anyhow!("{problem}"))
}

/// The address that this host would speak to the rest of the world from. No packet is sent.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(config: &MasterConfig) -> Result<Settings> {
        Settings::new(config, "10.77.0.2".parse().unwrap())
    }

    #[test]
    fn what_is_not_told_is_as_everywhere() {
        let settings = settings(&MasterConfig { names: vec!["m.example".into()], ..Default::default() }).unwrap();
        assert_eq!(settings.server(), "https://10.77.0.2:6443");
        assert_eq!(settings.service_address().to_string(), "10.96.0.1");
        let names = settings.server_names();
        assert!(
            ["10.96.0.1", "10.77.0.2", "127.0.0.1", "m.example"].iter().all(|name| names.iter().any(|n| n == name))
        );
        assert_eq!(
            settings.environment(),
            "ADDRESS=10.77.0.2\nPOD_NETWORK=10.244.0.0/16\nSERVICE_NETWORK=10.96.0.0/12\n"
        );
    }

    #[test]
    fn networks_do_not_overlap() {
        let with = |pods: &str, services: &str| {
            let config = MasterConfig {
                pod_network: Some(pods.into()),
                service_network: Some(services.into()),
                ..Default::default()
            };
            settings(&config).map_err(|error| format!("{error:#}"))
        };
        assert!(with("10.0.0.0/8", "10.96.0.0/12").unwrap_err().contains("overlap"));
        assert!(with("10.76.0.0/14", "10.96.0.0/12").unwrap_err().contains("own address"));
        assert!(with("pods", "10.96.0.0/12").unwrap_err().contains("no network"));
    }

    #[test]
    fn dns_is_at_the_tenth_address_of_the_services() {
        let with = |config: MasterConfig| settings(&config).map_err(|error| format!("{error:#}"));
        let services = |text: &str| MasterConfig { service_network: Some(text.into()), ..Default::default() };
        let address = |config| with(config).unwrap().dns.map(|dns| dns.service.to_string());
        assert_eq!(address(MasterConfig::default()).as_deref(), Some("10.96.0.10"));
        assert_eq!(address(services("10.1.2.16/28")).as_deref(), Some("10.1.2.26"));
        assert_eq!(address(services("fd00:96::/112")).as_deref(), Some("fd00:96::a"));
        assert_eq!(address(MasterConfig { dns: Some(false), ..services("10.1.2.0/29") }), None);
        assert!(with(services("10.1.2.0/29")).unwrap_err().contains("dns: false"));
        let clients = |text: &str| MasterConfig { dns_clients: vec![text.into()], ..Default::default() };
        assert_eq!(with(clients("203.0.113.9/24")).unwrap().dns.unwrap().clients, ["203.0.113.0/24".parse().unwrap()]);
        assert!(with(clients("all")).unwrap_err().contains("dns-clients"));
    }
}
