//! Owns the way from what a declaration says to what the engine is asked: Docker's create body.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountTmpfsOptions, MountType, RestartPolicy, RestartPolicyNameEnum,
};
use toml::Spanned;

use super::env_file;
use super::raw::{RawContainer, RawGroup, RawHealth, RawMount, Text};
use super::validate::Check;
use crate::images::reference;
use crate::words;

/// How the engine is told that a container has the network of a group: this and the group's name.
pub const GROUP_NETWORK: &str = "group:";

/// An image's name, as far as it can be checked without a registry.
pub fn image(text: &str) -> Result<String, String> {
    match reference::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(format!("`{text}` is no image: {why}; write [REGISTRY/]NAME[:TAG|@DIGEST]")),
    }
}

/// Makes bodies.
pub struct Bodies<'a, 'b> {
    pub check: &'a mut Check<'b>,
    pub raw: &'a RawContainer,
    pub group: Option<&'a RawGroup>,
    pub stem: &'a str,
}

impl Bodies<'_, '_> {
    /// The body of the container called `name`.
    pub fn body(mut self, name: &str) -> ContainerCreateBody {
        let raw = self.raw;
        self.only_of_the_group();
        let hostname = self.group.map_or(raw.hostname.as_ref(), |group| group.hostname.as_ref());
        ContainerCreateBody {
            hostname: hostname.map_or_else(|| self.hostname(name), |text| Some(text.get_ref().clone())),
            user: plain(&raw.user),
            env: Some(self.environment()),
            cmd: raw.command.as_ref().map(|words| texts(words)),
            entrypoint: raw.entrypoint.as_ref().map(|words| texts(words)),
            healthcheck: raw.health.as_ref().map(|health| self.health(health)),
            working_dir: self.check.option(&raw.workdir, path),
            labels: Some(self.labels()),
            stop_signal: plain(&raw.stop_signal),
            stop_timeout: self.check.option(&raw.stop_timeout, |text| Ok(words::duration(text)?.as_secs() as i64)),
            exposed_ports: None,
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    /// The name that a container has on a network of its own.
    fn hostname(&self, name: &str) -> Option<String> {
        let network = self.group.map_or(&self.raw.network, |group| &group.network);
        match network.as_ref().map(|text| text.get_ref().as_str()) {
            Some("bridge" | "none") | None => Some(self.group.map_or(name, |_| self.stem).to_owned()),
            Some(_) => None,
        }
    }

    fn host_config(&mut self) -> HostConfig {
        let raw = self.raw;
        let (hosts, dns) = match self.group {
            Some(group) => (&group.extra_hosts, &group.dns),
            None => (&raw.extra_hosts, &raw.dns),
        };
        let config = HostConfig {
            network_mode: Some(self.network()),
            port_bindings: self.group.is_none().then(|| self.check.ports(&raw.ports)),
            extra_hosts: Some(texts(hosts)),
            dns: Some(texts(dns)),
            links: Some(texts(&raw.links)),
            binds: Some(self.binds()),
            mounts: Some(raw.mounts.iter().filter_map(|mount| self.mount(mount)).collect()),
            tmpfs: Some(self.tmpfs()),
            devices: Some(raw.devices.iter().filter_map(|text| self.check.value(text, words::device)).collect()),
            readonly_rootfs: raw.read_only,
            privileged: raw.privileged,
            cap_add: Some(texts(&raw.cap_add)),
            cap_drop: Some(texts(&raw.cap_drop)),
            security_opt: Some(texts(&raw.security_opt)),
            sysctls: Some(pairs(&raw.sysctls)),
            // Restarts are the reconciler's: it knows what waits for what, and the delays.
            restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
            ..HostConfig::default()
        };
        self.resources(config)
    }

    fn resources(&mut self, config: HostConfig) -> HostConfig {
        let raw = &self.raw.resources;
        let mut positive = |number: &Option<Spanned<i64>>| {
            let number = number.as_ref()?;
            if *number.get_ref() <= 0 {
                self.check.report(number.span(), "this is a number above 0");
            }
            Some(*number.get_ref())
        };
        let (pids_limit, cpu_shares) = (positive(&raw.pids), positive(&raw.cpu_shares));
        let nano_cpus = raw.cpus.as_ref().map(|cpus| {
            if !(0.01..=4096.0).contains(cpus.get_ref()) {
                self.check.report(cpus.span(), "`cpus` is a number of processors, from 0.01");
            }
            (cpus.get_ref() * 1e9) as i64
        });
        HostConfig {
            memory: self.check.option(&raw.memory, words::size),
            memory_swap: self.check.option(&raw.memory_swap, words::size),
            nano_cpus,
            cpu_shares,
            pids_limit,
            ..config
        }
    }

    /// What belongs to the network is the group's, where there is one.
    fn only_of_the_group(&mut self) {
        let raw = self.raw;
        if self.group.is_none() {
            return;
        }
        let keys = [
            ("network", raw.network.as_ref()),
            ("hostname", raw.hostname.as_ref()),
            ("ports", raw.ports.first()),
            ("links", raw.links.first()),
            ("extra-hosts", raw.extra_hosts.first()),
            ("dns", raw.dns.first()),
        ];
        for (key, text) in keys {
            if let Some(text) = text {
                let message = match key {
                    "links" => "containers of a group reach each other on localhost: `links` means nothing here".into(),
                    key => format!("the network is the group's: `{key}` belongs in [group]"),
                };
                self.check.report(text.span(), message);
            }
        }
    }

    fn network(&mut self) -> String {
        if let Some(group) = self.group {
            return match &group.network {
                Some(network) if network.get_ref() == "host" => "host".to_owned(),
                _ => format!("{GROUP_NETWORK}{}", self.stem),
            };
        }
        let network = self.check.option(&self.raw.network, |text| match text {
            "bridge" | "none" | "host" => Ok(text.to_owned()),
            other if other.strip_prefix("container:").is_some_and(|name| words::name(name).is_ok()) => {
                Ok(other.to_owned())
            }
            other => Err(format!("`{other}` is no network; there are: bridge, none, host, container:NAME")),
        });
        let network = network.unwrap_or_else(|| "bridge".to_owned());
        if let (Some(first), true) = (self.raw.ports.first(), network != "bridge") {
            let message = format!("ports are published on the network `bridge`, not on `{network}`");
            self.check.report(first.span(), message);
        }
        network
    }

    /// The files' variables, the group's and the container's own; a later one counts.
    fn environment(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for path in &self.raw.env_files {
            all.extend(self.check.file(path, env_file::parse).unwrap_or_default());
        }
        let shared = self.group.map(|group| &group.environment);
        for (key, value) in shared.into_iter().flatten().chain(&self.raw.environment) {
            if key.get_ref().is_empty() || key.get_ref().contains('=') {
                self.check.report(key.span(), format!("`{}` is no name of a variable", key.get_ref()));
            }
            all.push(format!("{}={}", key.get_ref(), value.get_ref()));
        }
        let mut last: Vec<String> = Vec::new();
        for item in all {
            let key = |item: &str| item.split('=').next().unwrap_or_default().to_owned();
            match last.iter_mut().find(|other| key(other) == key(&item)) {
                Some(other) => *other = item,
                None => last.push(item),
            }
        }
        last
    }

    fn labels(&mut self) -> HashMap<String, String> {
        for key in self.raw.labels.keys().filter(|key| key.get_ref().starts_with("org.keelson.")) {
            self.check.report(key.span(), "labels that begin with org.keelson. are not for declarations to set");
        }
        pairs(&self.raw.labels)
    }

    /// `SOURCE:TARGET[:OPTIONS]` or `TARGET`, of the group and of the container.
    fn binds(&mut self) -> Vec<String> {
        let shared = self.group.map(|group| group.volumes.iter()).into_iter().flatten();
        shared.chain(&self.raw.volumes).filter_map(|text| self.check.value(text, volume)).collect()
    }

    fn tmpfs(&mut self) -> HashMap<String, String> {
        let mut all = HashMap::new();
        for text in &self.raw.tmpfs {
            let (target, options) = text.get_ref().split_once(':').unwrap_or((text.get_ref(), ""));
            match path(target) {
                Ok(target) => drop(all.insert(target, options.to_owned())),
                Err(message) => self.check.report(text.span(), message),
            }
        }
        all
    }

    fn mount(&mut self, mount: &Spanned<RawMount>) -> Option<Mount> {
        let raw = mount.get_ref();
        let typ = self.check.value(&raw.kind, |text| match text {
            "bind" => Ok(MountType::BIND),
            "volume" => Ok(MountType::VOLUME),
            "tmpfs" => Ok(MountType::TMPFS),
            other => Err(format!("`{other}` cannot be mounted; there are: bind, volume, tmpfs")),
        })?;
        let target = self.check.value(&raw.target, path)?;
        let source = match (&raw.source, typ) {
            (Some(source), MountType::BIND) => Some(self.check.value(source, path)?),
            (Some(source), MountType::VOLUME) => {
                Some(self.check.value(source, |name| words::name(name).map(|()| name.to_owned()))?)
            }
            (Some(source), _) => {
                self.check.report(source.span(), "a tmpfs has no source");
                None
            }
            (None, MountType::BIND) => {
                self.check.report(raw.target.span(), "the key `source` is missing: the host's path to mount");
                None
            }
            (None, _) => None,
        };
        let tmpfs_options = match typ {
            MountType::TMPFS => Some(MountTmpfsOptions {
                size_bytes: self.check.option(&raw.size, words::size),
                mode: self.check.option(&raw.mode, octal),
                options: None,
            }),
            _ => {
                for text in [&raw.size, &raw.mode].into_iter().flatten() {
                    self.check.report(text.span(), "`size` and `mode` belong to mounts of the type tmpfs");
                }
                None
            }
        };
        let propagation = self.check.option(&raw.propagation, propagation);
        let bind_options = propagation
            .map(|propagation| MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() });
        let read_only = Some(raw.read_only);
        Some(Mount {
            target: Some(target),
            source,
            typ: Some(typ),
            read_only,
            bind_options,
            tmpfs_options,
            ..Mount::default()
        })
    }

    fn health(&mut self, health: &Spanned<RawHealth>) -> HealthConfig {
        let raw = health.get_ref();
        let mut nanos =
            |text: &Option<Text>| self.check.option(text, |text| Ok(words::duration(text)?.as_nanos() as i64));
        let (interval, timeout, start_period) = (nanos(&raw.interval), nanos(&raw.timeout), nanos(&raw.start_period));
        let test = match (&raw.command, &raw.shell, raw.disable) {
            (Some(command), None, false) if !command.is_empty() => {
                Some([vec!["CMD".to_owned()], texts(command)].concat())
            }
            (None, Some(shell), false) => Some(vec!["CMD-SHELL".to_owned(), shell.get_ref().clone()]),
            (None, None, true) => Some(vec!["NONE".to_owned()]),
            // The image's own check, with other times.
            (None, None, false) => None,
            _ => {
                self.check.report(health.span(), "a health check has one of `command`, `shell` and `disable = true`");
                None
            }
        };
        if let Some(retries) = raw.retries.as_ref().filter(|retries| *retries.get_ref() < 1) {
            self.check.report(retries.span(), "`retries` is a number above 0");
        }
        let retries = raw.retries.as_ref().map(|retries| *retries.get_ref());
        HealthConfig { test, interval, timeout, retries, start_period, start_interval: None }
    }
}

fn plain(text: &Option<Text>) -> Option<String> {
    text.as_ref().map(|text| text.get_ref().clone())
}

fn texts(words: &[Text]) -> Vec<String> {
    words.iter().map(|text| text.get_ref().clone()).collect()
}

fn pairs(map: &std::collections::BTreeMap<Text, Text>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.get_ref().clone(), value.get_ref().clone())).collect()
}

fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is no path from /")),
    }
}

fn octal(text: &str) -> Result<i64, String> {
    let mode = i64::from_str_radix(text, 8).ok().filter(|mode| (0..=0o7777).contains(mode));
    mode.ok_or_else(|| format!("`{text}` is no mode; write it in octal, like 1777"))
}

fn propagation(text: &str) -> Result<MountBindOptionsPropagationEnum, String> {
    use MountBindOptionsPropagationEnum as P;
    match text {
        "private" => Ok(P::PRIVATE),
        "rprivate" => Ok(P::RPRIVATE),
        "shared" => Ok(P::SHARED),
        "rshared" => Ok(P::RSHARED),
        "slave" => Ok(P::SLAVE),
        "rslave" => Ok(P::RSLAVE),
        other => {
            Err(format!("`{other}` is no propagation; there are: private, rprivate, shared, rshared, slave, rslave"))
        }
    }
}

fn volume(text: &str) -> Result<String, String> {
    let wrong = |why: String| Err(format!("invalid volume `{text}`: {why}; write SOURCE:TARGET[:ro]"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target) = match parts[..] {
        [target] => (None, target),
        [source, target] | [source, target, _] => (Some(source), target),
        _ => return wrong("there are too many parts".to_owned()),
    };
    if !target.starts_with('/') {
        return wrong(format!("`{target}` is no path from /"));
    }
    match source {
        Some(source) if !source.starts_with('/') && words::name(source).is_err() => {
            wrong(format!("`{source}` is neither a path from / nor a volume's name"))
        }
        _ => Ok(text.to_owned()),
    }
}
