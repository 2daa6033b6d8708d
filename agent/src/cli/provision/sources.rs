//! Owns what a host is told, and by whom: its own file, cloud-init over it, part by part.

use std::fs;
use std::io;
use std::path::Path;

use keelson_common::provision::{HostConfig, KEY, from_toml, from_value};
use keelson_common::strict::Source;
use serde_json::Value;

use super::report::{Outcome, Part};

/// Keys of cloud-init's that cannot be done on a host whose `/usr` is read-only, and what does it instead.
const ELSEWHERE: [(&str, &str); 5] = [
    ("packages", "a host has the packages it was composed with: add them to its manifest, or run them in a container"),
    ("package_update", "there is no package manager on the host; `keelctl upgrade` takes the next version"),
    ("package_upgrade", "there is no package manager on the host; `keelctl upgrade` takes the next version"),
    ("apt", "there is no package manager on the host: sources of packages are named in its manifest"),
    ("snap", "there are no snaps on the host; run it in a container"),
];

/// What the host shall be, and what was asked of cloud-init in vain; or all that is wrong.
pub fn read(cloud: &Path, own: &Path) -> Result<(HostConfig, Vec<Part>), Vec<String>> {
    let mut problems = Vec::new();
    let lower = match text(own) {
        Ok(None) => HostConfig::default(),
        Ok(Some(text)) => from_toml(&Source { path: own.to_owned(), text }).unwrap_or_else(|found| {
            problems.extend(found.iter().map(ToString::to_string));
            HostConfig::default()
        }),
        Err(problem) => {
            problems.push(problem);
            HostConfig::default()
        }
    };
    let mut ignored = Vec::new();
    let upper = match cloud_config(cloud) {
        Ok(config) => {
            ignored = in_vain(&config);
            config.get(KEY).map_or(Ok(HostConfig::default()), from_value).unwrap_or_else(|found| {
                problems.extend(found.into_iter().map(|problem| format!("user-data, {KEY}: {problem}")));
                HostConfig::default()
            })
        }
        Err(problem) => {
            problems.push(problem);
            HostConfig::default()
        }
    };
    if problems.is_empty() { Ok((merged(lower, upper), ignored)) } else { Err(problems) }
}

fn merged(lower: HostConfig, upper: HostConfig) -> HostConfig {
    let mut containers = lower.containers;
    containers.extend(upper.containers);
    HostConfig {
        update: upper.update.or(lower.update),
        kernel_arguments: upper.kernel_arguments.or(lower.kernel_arguments),
        containers,
        join: upper.join.or(lower.join),
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
    let found = ELSEWHERE.iter().filter(|(key, _)| asked(key));
    found.map(|(key, instead)| Part::new(key, Outcome::Refused((*instead).to_owned()))).collect()
}

/// cloud-init's merged configuration; empty where cloud-init did nothing.
fn cloud_config(path: &Path) -> Result<Value, String> {
    let Some(text) = text(path)? else { return Ok(Value::Null) };
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(path: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_init_counts_over_the_hosts_own_file() {
        let folder = tempfile::tempdir().unwrap();
        let (cloud, own) = (folder.path().join("cloud.json"), folder.path().join("host.toml"));
        assert_eq!(read(&cloud, &own).unwrap().0, HostConfig::default());
        fs::write(&own, "[update]\nurl = \"http://own/\"\n[kernel-arguments]\nappend = [\"own\"]\n").unwrap();
        fs::write(&cloud, r#"{"keelson": {"update": {"url": "http://cloud/"}}, "packages": ["vim"], "apt": {"preserve_sources_list": true}}"#)
            .unwrap();
        let (config, ignored) = read(&cloud, &own).unwrap();
        assert_eq!(config.update.unwrap().url.as_deref(), Some("http://cloud/"));
        assert_eq!(config.kernel_arguments.unwrap().append, ["own"]);
        assert_eq!(ignored.iter().map(|part| part.part.as_str()).collect::<Vec<_>>(), ["packages"]);
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
    }
}
