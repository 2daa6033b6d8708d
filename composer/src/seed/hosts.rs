//! Owns the table of a fleet's hosts: names, addresses, labels, roles.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::net::IpAddr;

use keelson_common::strict::{Problem, Source, parse as strict};
use serde::Deserialize;
use toml::Spanned;

use crate::manifest::hostname;

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name, which is its hostname.
    pub name: String,
    /// Its address and the length of its network's prefix; without it DHCP gives one.
    pub address: Option<String>,
    /// Where the rest of the world is.
    pub gateway: Option<String>,
    /// Resolvers.
    pub dns: Vec<String>,
    /// The card that the address belongs to; the only one of the wired ones where there is none.
    pub mac: Option<String>,
    /// What it is for.
    pub role: String,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// More words for the template.
    pub set: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    host: Vec<RawHost>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    name: Spanned<String>,
    address: Option<Spanned<String>>,
    gateway: Option<Spanned<String>>,
    #[serde(default)]
    dns: Vec<Spanned<String>>,
    mac: Option<Spanned<String>>,
    role: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    set: BTreeMap<String, String>,
}

/// Reads a table; gives all that is wrong with it.
pub fn parse(source: Source) -> Result<Vec<Host>, Vec<Problem>> {
    let raw: Raw = strict(&source, &["host"]).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    let mut wrong = |at: &Spanned<String>, message: String| problems.push(source.problem(at.span().start, message));
    for host in &raw.host {
        let name = host.name.get_ref();
        if let Err(problem) = hostname(name) {
            wrong(&host.name, problem);
        }
        // As a node's name has to be.
        if name.contains(char::is_uppercase) {
            wrong(&host.name, format!("`{name}` is no hostname of a node: letters are lower case"));
        }
        if !names.insert(name.clone()) {
            wrong(&host.name, format!("there are two hosts `{name}`"));
        }
        if let Some(address) = &host.address
            && address.get_ref().parse::<ipnet::IpNet>().is_err()
        {
            wrong(address, format!("`{}` is no address with its prefix, like 10.0.0.11/24", address.get_ref()));
        }
        for ip in host.gateway.iter().chain(&host.dns) {
            if ip.get_ref().parse::<IpAddr>().is_err() {
                wrong(ip, format!("`{}` is no IP address", ip.get_ref()));
            }
        }
        if let (Some(gateway), None) = (&host.gateway, &host.address) {
            wrong(gateway, "a gateway is for a host with an `address`; DHCP brings its own".to_owned());
        }
        if let Some(mac) = &host.mac
            && !is_mac(mac.get_ref())
        {
            wrong(mac, format!("`{}` is no MAC address, like 52:54:00:12:34:56", mac.get_ref()));
        }
    }
    if problems.is_empty() { Ok(raw.host.into_iter().map(Host::from).collect()) } else { Err(problems) }
}

impl From<RawHost> for Host {
    fn from(raw: RawHost) -> Self {
        Self {
            name: raw.name.into_inner(),
            address: raw.address.map(Spanned::into_inner),
            gateway: raw.gateway.map(Spanned::into_inner),
            dns: raw.dns.into_iter().map(Spanned::into_inner).collect(),
            mac: raw.mac.map(Spanned::into_inner),
            role: raw.role.unwrap_or_default(),
            labels: raw.labels,
            set: raw.set,
        }
    }
}

impl Host {
    /// What a template may name.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let mut all = self.set.clone();
        let address = self.address.as_deref().and_then(|address| address.split('/').next());
        all.insert("name".into(), self.name.clone());
        all.insert("address".into(), address.unwrap_or_default().to_owned());
        all.insert("role".into(), self.role.clone());
        // A mapping of YAML, in its short form.
        all.insert("labels".into(), serde_json::json!(self.labels).to_string());
        all
    }

    /// The network-config document, where the host has an address of its own.
    pub fn network_config(&self) -> Option<String> {
        let address = self.address.as_ref()?;
        let card = match &self.mac {
            Some(mac) => format!("macaddress: \"{mac}\""),
            None => "name: \"e*\"".to_owned(),
        };
        let mut text =
            format!("version: 2\nethernets:\n  main:\n    match: {{{card}}}\n    addresses: [\"{address}\"]\n");
        if let Some(gateway) = &self.gateway {
            let _ = writeln!(text, "    routes: [{{to: default, via: \"{gateway}\"}}]");
        }
        if !self.dns.is_empty() {
            let _ = writeln!(text, "    nameservers: {{addresses: {}}}", serde_json::json!(self.dns));
        }
        Some(text)
    }
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Host>, Vec<Problem>> {
        parse(Source { path: "hosts.toml".into(), text: text.into() })
    }

    #[test]
    fn a_host_has_what_the_table_says() {
        let text = "[[host]]\nname = \"n1\"\naddress = \"10.0.0.11/24\"\ngateway = \"10.0.0.1\"\ndns = [\"10.0.0.2\"]\n\
                    labels = { zone = \"a\" }\nset = { disk = \"sdb\" }\n";
        let host = read(text).unwrap().remove(0);
        let variables = host.variables();
        assert_eq!(
            (&*variables["address"], &*variables["labels"], &*variables["disk"]),
            ("10.0.0.11", "{\"zone\":\"a\"}", "sdb")
        );
        let network = host.network_config().unwrap();
        assert!(network.contains("match: {name: \"e*\"}") && network.contains("via: \"10.0.0.1\""), "{network}");
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let text = "[[host]]\nname = \"N1\"\naddress = \"10.0.0.11\"\n[[host]]\nname = \"n2\"\nmac = \"1:2\"\ngateway = \"x\"\n\
                    [[host]]\nname = \"n2\"\n";
        let problems: Vec<String> = read(text).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 6, "{problems:#?}");
        assert!(problems[0].starts_with("hosts.toml:2:8: `N1` is no hostname"), "{problems:?}");
        assert!(problems[5].ends_with("there are two hosts `n2`"), "{problems:?}");
        let unknown = read("[[host]]\nname = \"a\"\nadress = \"x\"\n").unwrap_err();
        assert!(unknown[0].to_string().contains("did you mean `address`?"));
    }
}
