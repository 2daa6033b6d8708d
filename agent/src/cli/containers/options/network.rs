//! The flags about the network: ports, names, links.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig, PortMap,
};

use super::super::parse::hosts;
use super::{some, usage};
use keelson_containers::words;

/// The network of a container.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct Network {
    /// Publish a port, or a range of ports, on the host
    #[arg(short, long, value_name = "[[IP:]HOST:]PORT[/PROTO]", value_parser = |text: &str| words::published(text).map(|_| text.to_owned()))]
    publish: Vec<String>,
    /// Publish every exposed port on a port that is free
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Say that the container listens on a port
    #[arg(long, value_name = "PORT[/PROTO]", value_parser = |text: &str| words::exposed(text).map(|_| text.to_owned()))]
    expose: Vec<String>,
    /// Give the container the address and variables of another one
    #[arg(long, value_name = "NAME[:ALIAS]", value_parser = hosts::link)]
    link: Vec<String>,
    /// The network: bridge (the default), host, none, container:NAME
    #[arg(long, visible_alias = "net", value_name = "MODE")]
    network: Option<String>,
    /// Another name of the container on its network
    #[arg(long, value_name = "NAME")]
    network_alias: Vec<String>,
    /// The container's own name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// The container's domain
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "HOST:IP", value_parser = hosts::extra)]
    add_host: Vec<String>,
    /// Ask this name server
    #[arg(long, value_name = "IP", value_parser = hosts::server)]
    dns: Vec<String>,
    /// An option for the resolver
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Look names up in this domain, too
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// The container's address
    #[arg(long, value_name = "IP")]
    ip: Option<String>,
    /// The container's hardware address
    #[arg(long, value_name = "MAC")]
    mac_address: Option<String>,
}

impl Network {
    /// Puts the flags into the request.
    pub fn apply(self, body: &mut ContainerCreateBody, host: &mut HostConfig) -> anyhow::Result<()> {
        let mut published = Vec::new();
        for text in &self.publish {
            published.extend(words::published(text).map_err(usage)?);
        }
        let mut exposed: Vec<String> = published.iter().map(|(port, _)| port.clone()).collect();
        for text in &self.expose {
            exposed.extend(words::exposed(text).map_err(usage)?);
        }
        exposed.sort();
        exposed.dedup();
        body.exposed_ports = some(exposed);
        body.hostname = self.hostname;
        body.domainname = self.domainname;
        let mode = self.network.unwrap_or_else(|| "default".to_owned());
        body.networking_config = endpoint(&mode, self.network_alias, self.ip, self.mac_address);
        host.port_bindings = (!published.is_empty()).then(|| port_map(published));
        host.publish_all_ports = self.publish_all.then_some(true);
        host.links = some(self.link);
        host.network_mode = Some(mode);
        host.extra_hosts = some(self.add_host);
        host.dns = some(self.dns);
        host.dns_options = some(self.dns_option);
        host.dns_search = some(self.dns_search);
        Ok(())
    }
}

fn endpoint(mode: &str, aliases: Vec<String>, ip: Option<String>, mac: Option<String>) -> Option<NetworkingConfig> {
    if aliases.is_empty() && ip.is_none() && mac.is_none() {
        return None;
    }
    let ipam = ip.map(|ip| EndpointIpamConfig { ipv4_address: Some(ip), ..EndpointIpamConfig::default() });
    let settings =
        EndpointSettings { aliases: some(aliases), ipam_config: ipam, mac_address: mac, ..EndpointSettings::default() };
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(mode.to_owned(), settings)])) })
}

/// The mappings by container port.
fn port_map(published: Vec<words::Published>) -> PortMap {
    let mut map = PortMap::new();
    for (port, binding) in published {
        map.entry(port).or_default().get_or_insert_default().push(binding);
    }
    map
}
