//! Owns turning [`Raw`] into [`Settings`]; every problem is collected with its place, so that one look
//! shows them all.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keelson_common::strict::{Problem, Source, nearest};
use toml::Spanned;

use super::raw::{Raw, Text, Words};
use super::{CgroupDriver, Facts, Join, Settings, Token, kubeconfig, words};

/// What the kubelet evicts at unless told otherwise, and the signals there are.
const EVICTION: [(&str, &str, &str); 6] = [
    ("memory-available", "memory.available", "100Mi"),
    ("nodefs-available", "nodefs.available", "10%"),
    ("nodefs-inodes-free", "nodefs.inodesFree", "5%"),
    ("imagefs-available", "imagefs.available", "15%"),
    ("imagefs-inodes-free", "imagefs.inodesFree", "5%"),
    ("pid-available", "pid.available", "5%"),
];
/// What user-data brought, and what an administrator wrote; the container daemon reads the same.
const REGISTRY_AUTH: [&str; 2] = ["/run/keelson/auth.json", "/etc/keelson/auth.json"];
/// What can be kept from pods.
const RESERVED: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];

/// Checks the file.
pub fn validate(source: &Source, raw: &Raw, facts: &Facts<'_>) -> Result<Settings, Vec<Problem>> {
    let mut check = Check { source, problems: Vec::new(), facts };
    let settings = check.settings(raw);
    if check.problems.is_empty() { Ok(settings) } else { Err(check.problems) }
}

struct Check<'a> {
    source: &'a Source,
    problems: Vec<Problem>,
    facts: &'a Facts<'a>,
}

impl Check<'_> {
    fn settings(&mut self, raw: &Raw) -> Settings {
        let join = self.join(raw);
        let server = self.server(raw);
        Settings {
            name: self.name(raw),
            addresses: self.addresses(raw, &server),
            server,
            root: self.own_folder(&raw.root, "/var/lib/keelson/node"),
            run: self.own_folder(&raw.run, "/run/keelson/node"),
            logs: self.path(&raw.logs, "/var/log/pods"),
            containerd: self.path(&raw.containerd, "/run/containerd/containerd.sock"),
            cni_conf: self.path(&raw.cni_conf, "/etc/cni/net.d"),
            static_pods: self.path(&raw.static_pods, "/etc/keelson/pods.d"),
            port: raw.port.as_ref().map_or(10250, |port| *port.get_ref()),
            cgroup_driver: self.cgroup_driver(raw),
            cgroup_root: self.option(&raw.cgroup_root, words::cgroup).unwrap_or_else(|| "kubepods".into()),
            labels: self.labels(raw),
            taints: raw.taints.iter().filter_map(|taint| self.value(taint, words::taint)).collect(),
            max_pods: self.at_least_one(raw.max_pods.as_ref(), 110, "a node takes one pod at least"),
            pod_pids_limit: self.at_least_one(raw.pod_pids_limit.as_ref(), 4096, "a pod has one process at least"),
            cluster_dns: self.ips(raw.cluster_dns.as_ref()),
            cluster_domain: self.option(&raw.cluster_domain, words::domain).unwrap_or_else(|| "cluster.local".into()),
            resolv_conf: self.resolv_conf(raw),
            reserved: self.reserved(raw),
            services: raw.services.unwrap_or(true),
            pod_network: raw.pod_network.unwrap_or(true),
            pause_image: raw.pause_image.as_ref().map(|image| image.get_ref().clone()),
            registry_auth: match &raw.registry_auth {
                Some(_) => self.each(raw.registry_auth.as_ref(), words::path),
                None => REGISTRY_AUTH.map(PathBuf::from).to_vec(),
            },
            volume_refresh: self.option(&raw.volume_refresh, refresh).unwrap_or(Duration::from_secs(20)),
            provider_id: raw.provider_id.as_ref().map(|id| id.get_ref().clone()),
            eviction: self.eviction(raw),
            join,
        }
    }

    fn report(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.source.problem(span.start, message));
    }

    fn value<T>(&mut self, text: &Text, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        read(text.get_ref()).map_err(|message| self.report(text.span(), message)).ok()
    }

    fn option<T>(&mut self, text: &Option<Text>, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        text.as_ref().and_then(|text| self.value(text, read))
    }

    /// Each of some words; what is wrong with one is noted where they begin.
    fn each<T>(&mut self, all: Option<&Spanned<Words>>, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(all) = all else { return Vec::new() };
        let mut values = Vec::new();
        for word in &all.get_ref().0 {
            match read(word) {
                Ok(value) => values.push(value),
                Err(message) => self.report(all.span(), message),
            }
        }
        values
    }

    fn ips(&mut self, all: Option<&Spanned<Words>>) -> Vec<IpAddr> {
        self.each(all, |word| word.parse().map_err(|_| format!("`{word}` is no IP address")))
    }

    fn path(&mut self, text: &Option<Text>, default: &str) -> PathBuf {
        self.option(text, words::path).unwrap_or_else(|| default.into())
    }

    fn own_folder(&mut self, text: &Option<Text>, default: &str) -> PathBuf {
        self.option(text, words::own_folder).unwrap_or_else(|| default.into())
    }

    fn server(&mut self, raw: &Raw) -> String {
        let facts = self.facts;
        let from_kubeconfig = || {
            let text = raw.kubeconfig.as_ref()?;
            let config = (facts.read)(Path::new(text.get_ref())).map_err(|error| error.to_string());
            Some((text, config.and_then(|config| kubeconfig::server(&config))))
        };
        if let Some(server) = &raw.server {
            return self.value(server, words::server).unwrap_or_default();
        }
        match from_kubeconfig() {
            Some((_, Ok(server))) => {
                let text = raw.kubeconfig.as_ref().map_or(0..0, Spanned::span);
                words::server(&server).map_err(|message| self.report(text, message)).unwrap_or_default()
            }
            Some((text, Err(why))) => {
                self.report(text.span(), format!("cannot use the kubeconfig {}: {why}", text.get_ref()));
                String::new()
            }
            None => {
                self.report(0..0, "the key `server` is missing: where the API server is, https://HOST:PORT");
                String::new()
            }
        }
    }

    fn join(&mut self, raw: &Raw) -> Join {
        if let (Some(_), Some(file)) = (&raw.token, &raw.token_file) {
            self.report(file.span(), "there is `token` already; write one of them");
        }
        let (token, token_file) = match (&raw.token, &raw.token_file) {
            (Some(token), _) => (self.value(token, str::parse::<Token>), None),
            (None, Some(file)) => match (self.facts.read)(Path::new(file.get_ref())) {
                Err(error) if is_gone(&error) => (None, self.value(file, words::path)),
                text => {
                    let token = self.value(file, |path| {
                        let text = text.map_err(|error| format!("cannot read {path}: {error}"))?;
                        text.parse::<Token>().map_err(|why| format!("{path}: {why}"))
                    });
                    (token, None)
                }
            },
            (None, None) => (None, None),
        };
        let ca_hashes = self.each(raw.ca_hash.as_ref(), str::parse);
        let (ca, ca_file) = raw.ca.as_ref().map(|ca| self.ca(ca)).unwrap_or_default();
        let written = raw.token.as_ref().or(raw.token_file.as_ref());
        if let (Some(token), None, None) = (written, &raw.ca_hash, &raw.ca) {
            self.report(
                token.span(),
                "the key `ca-hash` is missing: without it another server could pose as the master; `kubeadm token \
                 create --print-join-command` shows it",
            );
        }
        let kubeconfig = self.option(&raw.kubeconfig, words::path);
        Join { token, token_file, ca_hashes, ca, ca_file, kubeconfig, replace: false }
    }

    /// The authority's certificate, from a file or written out; or the file, where there is none.
    fn ca(&mut self, text: &Text) -> (Option<String>, Option<PathBuf>) {
        let pem = match text.get_ref().contains("-----BEGIN") {
            true => Ok(text.get_ref().clone()),
            false => (self.facts.read)(Path::new(text.get_ref())),
        };
        if pem.as_ref().is_err_and(is_gone) {
            return (None, self.value(text, words::path));
        }
        let pem = self.value(text, |path| match pem {
            Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Ok(pem),
            Ok(_) => Err("there is no certificate in it; write a PEM, or the path of one".to_owned()),
            Err(error) => Err(format!("cannot read {path}: {error}")),
        });
        (pem, None)
    }

    fn name(&mut self, raw: &Raw) -> String {
        if let Some(name) = &raw.name {
            return self.value(name, words::node_name).unwrap_or_default();
        }
        let name = self.facts.hostname.to_lowercase();
        match words::node_name(&name) {
            Ok(name) if name != "localhost" => name,
            _ => {
                let hostname = &self.facts.hostname;
                self.report(
                    0..0,
                    format!("the hostname `{hostname}` cannot be a node's name; set another, or the key `name`"),
                );
                String::new()
            }
        }
    }

    fn addresses(&mut self, raw: &Raw, server: &str) -> Vec<IpAddr> {
        let given = self.ips(raw.addresses.as_ref());
        if !given.is_empty() {
            return given;
        }
        match (self.facts.address)(server.trim_start_matches("https://").split('/').next().unwrap_or_default()) {
            Ok(address) => vec![address],
            Err(error) => {
                self.report(0..0, format!("cannot tell this machine's address ({error}); set the key `address`"));
                Vec::new()
            }
        }
    }

    fn cgroup_driver(&mut self, raw: &Raw) -> CgroupDriver {
        let automatic = if self.facts.systemd { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs };
        let chosen = self.option(&raw.cgroup_driver, |text| match text {
            "auto" => Ok(automatic),
            "systemd" => Ok(CgroupDriver::Systemd),
            "cgroupfs" => Ok(CgroupDriver::Cgroupfs),
            other => Err(format!("`{other}` is no cgroup driver; there are: auto, systemd, cgroupfs")),
        });
        chosen.unwrap_or(automatic)
    }

    fn labels(&mut self, raw: &Raw) -> BTreeMap<String, String> {
        let pairs = raw.labels.iter().filter_map(|(key, value)| {
            let key = self.value(key, words::label_key);
            let value = self.value(value, words::label_value);
            Some((key?, value?))
        });
        pairs.collect()
    }

    fn at_least_one(&mut self, number: Option<&Spanned<u32>>, default: u32, problem: &str) -> u32 {
        match number {
            Some(number) if *number.get_ref() == 0 => {
                self.report(number.span(), problem);
                1
            }
            Some(number) => *number.get_ref(),
            None => default,
        }
    }

    /// The resolver's own file, not the one that points at a resolver on loopback.
    fn resolv_conf(&mut self, raw: &Raw) -> PathBuf {
        const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
        let default = if (self.facts.read)(Path::new(RESOLVED)).is_ok() { RESOLVED } else { "/etc/resolv.conf" };
        self.path(&raw.resolv_conf, default)
    }

    fn reserved(&mut self, raw: &Raw) -> BTreeMap<String, String> {
        let pairs = raw.reserved.iter().filter_map(|(key, value)| {
            let key = self.value(key, |key| known(key, &RESERVED).map(str::to_owned));
            let value = self.value(value, words::quantity);
            Some((key?, value?))
        });
        pairs.collect()
    }

    fn eviction(&mut self, raw: &Raw) -> BTreeMap<String, String> {
        let names: Vec<&str> = EVICTION.iter().map(|(name, ..)| *name).collect();
        let mut all: BTreeMap<String, String> =
            EVICTION.iter().map(|(_, signal, value)| ((*signal).to_owned(), (*value).to_owned())).collect();
        for (key, value) in &raw.eviction {
            let signal = self.value(key, |key| {
                let key = known(key, &names)?;
                let signal = EVICTION.iter().find(|(name, ..)| *name == key).map(|(_, signal, _)| *signal);
                signal.ok_or_else(|| key.to_owned())
            });
            let value = self.value(value, |text| match text {
                "never" => Ok(None),
                text => words::threshold(text).map(Some),
            });
            match (signal, value) {
                (Some(signal), Some(Some(value))) => all.insert(signal.to_owned(), value),
                (Some(signal), Some(None)) => all.remove(signal),
                _ => None,
            };
        }
        all
    }
}

/// Whether there is no such file. What a host joins by may be gone once it has joined, as a boot forgets what is
/// below /run: that must not keep the node from starting.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn known<'a>(key: &'a str, names: &[&'a str]) -> Result<&'a str, String> {
    if names.contains(&key) {
        return Ok(key);
    }
    Err(match nearest(key, names) {
        Some(near) => format!("unknown key `{key}`; did you mean `{near}`?"),
        None => format!("unknown key `{key}`; valid keys: {}", names.join(", ")),
    })
}

fn refresh(text: &str) -> Result<Duration, String> {
    match words::duration(text)? {
        short if short < Duration::from_secs(1) => Err("volumes are looked at once a second at most".to_owned()),
        refresh => Ok(refresh),
    }
}
