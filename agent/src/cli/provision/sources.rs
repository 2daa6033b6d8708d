//! Owns what a host is told, and by whom: its own file, cloud-init over it, part by part.

use std::path::Path;

use keelson_common::provision::{HostConfig, KEY, contradictions, from_toml, from_value};
use keelson_common::strict::Source;
use serde_json::Value;

use super::containers::{self, Files};
use super::report::{Outcome, Part};
use crate::cli::files;

/// Keys of cloud-init's that cannot be done on a host whose `/usr` is read-only, and what does it instead.
const ELSEWHERE: [(&str, &str); 21] = [
    ("packages", "a host has the packages it was composed with: add them to its manifest, or run them in a container"),
    ("package_update", "there is no package manager on the host; `keelctl upgrade` takes the next version"),
    ("package_upgrade", "there is no package manager on the host; `keelctl upgrade` takes the next version"),
    ("apt", "there is no package manager on the host: sources of packages are named in its manifest"),
    ("snap", "there are no snaps on the host; run it in a container"),
    ("locale", "hosts speak C.UTF-8 alone; a container may have others"),
    ("keyboard", "there are no other keyboards on the host; `write_files` may bring /etc/vconsole.conf"),
    ("rsyslog", "the journal keeps the host's log; forward it from a container that reads /var/log/journal"),
    ("resize_rootfs", "the root file system grows to its disk at each boot, by systemd-repart"),
    ("bootloader", "the boot loader is libostree's; `keelson: kernel-arguments:` changes what it starts"),
    ("grub_dpkg", "the boot loader is libostree's; `keelson: kernel-arguments:` changes what it starts"),
    ("wireguard", "`network:` or `write_files` bring it: systemd-networkd makes the interface"),
    ("resolv_conf", "systemd-resolved has the servers of `network:`"),
    ("ansible", "a host is changed by its manifest; run it in a container"),
    ("chef", "a host is changed by its manifest; run it in a container"),
    ("puppet", "a host is changed by its manifest; run it in a container"),
    ("salt_minion", "a host is changed by its manifest; run it in a container"),
    ("mcollective", "a host is changed by its manifest; run it in a container"),
    ("landscape", "a host is changed by its manifest; run it in a container"),
    ("lxd", "containers are declared by `keelson: containers:`"),
    ("byobu", "a host has no byobu; run it in a container"),
];

/// What the host shall be.
#[derive(Debug, Default, PartialEq)]
pub struct Wanted {
    /// All of it.
    pub config: HostConfig,
    /// The files of its containers.
    pub containers: Files,
    /// What was asked of cloud-init in vain.
    pub in_vain: Vec<Part>,
}

/// Reads it, and checks it whole; gives all that is wrong.
pub fn read(cloud: &Path, own: &Path) -> Result<Wanted, Vec<String>> {
    let mut problems = Vec::new();
    let mut good = |read: Result<HostConfig, Vec<String>>| {
        read.unwrap_or_else(|found| {
            problems.extend(found);
            HostConfig::default()
        })
    };
    let lower = good(host_config(own));
    let cloud = cloud_config(cloud);
    let in_vain = cloud.as_ref().map(in_vain).unwrap_or_default();
    let config = merged(lower, good(cloud.and_then(|config| told(&config))));
    // Neither says of the other what it does not know.
    problems.extend(contradictions(&config));
    let containers = containers::files(&config.containers).unwrap_or_else(|found| {
        problems.extend(found);
        Files::new()
    });
    if problems.is_empty() { Ok(Wanted { config, containers, in_vain }) } else { Err(problems) }
}

/// The host's own file.
fn host_config(path: &Path) -> Result<HostConfig, Vec<String>> {
    let text = files::read(path).map_err(|error| vec![format!("{error:#}")])?;
    let source = |text| Source { path: path.to_owned(), text };
    let read = text.map_or(Ok(HostConfig::default()), |text| from_toml(&source(text)));
    read.map_err(|found| found.iter().map(ToString::to_string).collect())
}

/// cloud-init's merged configuration; empty where cloud-init did nothing.
fn cloud_config(path: &Path) -> Result<Value, Vec<String>> {
    let text = files::read(path).map_err(|error| vec![format!("{error:#}")])?;
    let read = text.map_or(Ok(Value::Null), |text| serde_json::from_str(&text));
    read.map_err(|error| vec![format!("{}: {error}", path.display())])
}

/// What it tells this host.
fn told(cloud: &Value) -> Result<HostConfig, Vec<String>> {
    let read = cloud.get(KEY).map_or(Ok(HostConfig::default()), from_value);
    read.map_err(|found| found.into_iter().map(|problem| format!("user-data, {KEY}: {problem}")).collect())
}

fn merged(lower: HostConfig, upper: HostConfig) -> HostConfig {
    let mut containers = lower.containers;
    containers.extend(upper.containers);
    let mut registries = lower.registries;
    registries.extend(upper.registries);
    HostConfig {
        update: upper.update.or(lower.update),
        health: upper.health.or(lower.health),
        kernel_arguments: upper.kernel_arguments.or(lower.kernel_arguments),
        console: upper.console.or(lower.console),
        registries,
        containers,
        join: upper.join.or(lower.join),
        master: upper.master.or(lower.master),
    }
}

fn in_vain(config: &Value) -> Vec<Part> {
    let asked = |key: &str| match config.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        // Debian's cloud-init says how mirrors are found, to everybody.
        Some(Value::Object(apt)) if key == "apt" => {
            ["sources", "sources_list", "preferences", "conf"].iter().any(|key| apt.contains_key(*key))
        }
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    };
    let found = ELSEWHERE.iter().filter(|(key, _)| asked(key)).copied();
    let found = found.chain(growing(config).map(|instead| ("growpart", instead)));
    found.map(|(key, instead)| Part::new(key, Outcome::Refused(instead.to_owned()))).collect()
}

/// What is asked of growing that is not done: the root grows by itself, and nothing else.
fn growing(config: &Value) -> Option<&'static str> {
    let asked = config.get("growpart")?;
    let off = |mode: &Value| *mode == Value::Bool(false) || mode == "off";
    if asked.get("mode").is_some_and(off) {
        return Some(
            "the root grows to its disk at each boot; `keelson: kernel-arguments:` with \
             `systemd.mask=systemd-repart.service` leaves it as it is",
        );
    }
    let others = asked.get("devices")?.as_array()?.iter().any(|device| device != "/");
    others
        .then_some("only the root grows by itself; make other file systems as large as they are to be by `disk_setup`")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn cloud_init_counts_over_the_hosts_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let (cloud, own) = (folder.path().join("cloud.json"), folder.path().join("host.toml"));
        assert_eq!(read(&cloud, &own).unwrap(), Wanted::default());
        fs::write(&own, "[update]\nurl = \"http://own/\"\n[kernel-arguments]\nappend = [\"own\"]\n").unwrap();
        fs::write(&cloud, r#"{"keelson": {"update": {"url": "http://cloud/"}}, "packages": ["vim"], "apt": {"preserve_sources_list": true}}"#)
            .unwrap();
        let Wanted { config, in_vain, .. } = read(&cloud, &own).unwrap();
        assert_eq!(config.update.unwrap().url.as_deref(), Some("http://cloud/"));
        assert_eq!(config.kernel_arguments.unwrap().append, ["own"]);
        assert_eq!(in_vain.iter().map(|part| part.part.as_str()).collect::<Vec<_>>(), ["packages"]);
    }

    #[test]
    fn what_grows_is_told_where_it_is_not_the_root() {
        let growing = |value: Value| growing(&serde_json::json!({ "growpart": value })).is_some();
        assert!(!growing(serde_json::json!({ "mode": "auto", "devices": ["/"] })));
        assert!(growing(serde_json::json!({ "mode": false })) && growing(serde_json::json!({ "mode": "off" })));
        assert!(growing(serde_json::json!({ "devices": ["/", "/var/data"] })));
    }

    #[test]
    fn what_is_wrong_anywhere_is_told_and_nothing_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let (cloud, own) = (folder.path().join("cloud.json"), folder.path().join("host.toml"));
        fs::write(&own, "[updat]\n").unwrap();
        fs::write(&cloud, r#"{"keelson": {"joint": {}}}"#).unwrap();
        let problems = read(&cloud, &own).unwrap_err();
        assert!(problems[0].ends_with("host.toml:1:2: unknown key `updat`; did you mean `update`?"), "{problems:?}");
        assert_eq!(problems[1], "user-data, keelson: unknown key `joint`; did you mean `join`?");
        fs::write(&cloud, "{").unwrap();
        assert_eq!(read(&cloud, &own).unwrap_err().len(), 2);
        fs::write(&own, "[containers.web]\n").unwrap();
        fs::write(&cloud, "{}").unwrap();
        assert!(read(&cloud, &own).unwrap_err()[0].contains("containers.web declares nothing"));
        fs::write(&own, "[kernel-arguments]\nappend = [\"console=ttyS0\"]\n").unwrap();
        fs::write(&cloud, r#"{"keelson": {"console": {"devices": ["tty0"]}}}"#).unwrap();
        assert!(read(&cloud, &own).unwrap_err()[0].contains("`console.devices` decides on"));
    }
}
