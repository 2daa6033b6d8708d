//! Owns the registries that a host is told of: for each a folder as containerd has them, which pods, declared
//! containers and `keelctl pull` all read; and who the host is there, which is forgotten with the boot.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use keelson_common::fs::remove_if_there;
use keelson_common::provision::{EVERY, Registry};
use keelson_containers::images::AuthFile;

use super::report::Outcome;
use crate::cli::files;

/// The first line of a description that is ours to change.
const OURS: &str = "# Written at each boot by `keelctl provision`; change the host's user-data, not this.\n";
/// The description of a registry.
const HOSTS: &str = "hosts.toml";
/// Its authority, beside that.
const CA: &str = "ca.crt";
/// Credentials, below what is forgotten with the boot.
const AUTH: &str = "auth.json";

/// Has these registries described, and none that an earlier boot was told of.
pub fn apply(
    wanted: &BTreeMap<String, Registry>,
    folder: &Path,
    run: &Path,
    dry: bool,
) -> anyhow::Result<Option<Outcome>> {
    let auth = run.join(AUTH);
    let gone: Vec<String> = ours(folder)?.into_iter().filter(|name| !wanted.contains_key(name)).collect();
    let credentials = credentials(wanted)?;
    if wanted.is_empty() && gone.is_empty() && !auth.exists() {
        return Ok(None);
    }
    let mut changed = !gone.is_empty();
    for (name, registry) in wanted {
        let there = files::read(&folder.join(name).join(HOSTS))?;
        if there.as_ref().is_some_and(|there| !there.starts_with(OURS)) {
            let path = folder.join(name).join(HOSTS);
            bail!(
                "{} was written by somebody else: remove it, or `registries.{name}` from the user-data",
                path.display()
            );
        }
        let ca = files::read(&folder.join(name).join(CA))?;
        changed |= there.as_deref() != Some(description(name, registry).as_str()) || ca != registry.ca;
    }
    changed |= files::read(&auth)? != credentials;
    if changed && !dry {
        for name in &gone {
            let path = folder.join(name);
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        for (name, registry) in wanted {
            write(&folder.join(name), name, registry)?;
        }
        match &credentials {
            Some(text) => files::write(&auth, text, 0o600)?,
            None => remove(&auth)?,
        }
    }
    let told = if wanted.is_empty() { "none".to_owned() } else { names(wanted) };
    Ok(Some(if changed { Outcome::Applied(told) } else { Outcome::Unchanged(told) }))
}

fn names(wanted: &BTreeMap<String, Registry>) -> String {
    wanted.keys().map(|name| if name == EVERY { "every other" } else { name }).collect::<Vec<_>>().join(", ")
}

fn write(folder: &Path, name: &str, registry: &Registry) -> anyhow::Result<()> {
    match &registry.ca {
        Some(ca) => files::write(&folder.join(CA), ca, 0o644)?,
        None => remove(&folder.join(CA))?,
    }
    // Last: it names the other.
    files::write(&folder.join(HOSTS), &description(name, registry), 0o644)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    remove_if_there(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// The registries that an earlier boot was told of.
fn ours(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if files::read(&path.join(HOSTS))?.is_some_and(|text| text.starts_with(OURS)) {
            found.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    Ok(found)
}

/// A registry as containerd reads it.
fn description(name: &str, registry: &Registry) -> String {
    let mut text = OURS.to_owned();
    let scheme = if registry.plain_http == Some(true) { "http" } else { "https" };
    // Docker's registry is elsewhere than its images' names say.
    let server = if name == "docker.io" { "registry-1.docker.io" } else { name };
    if name != EVERY {
        let _ = writeln!(text, "server = \"{scheme}://{server}\"");
    }
    let ca = if registry.ca.is_some() { format!("ca = \"{CA}\"\n") } else { String::new() };
    text.push_str(&ca);
    for mirror in &registry.mirrors {
        let _ = write!(text, "\n[host.\"{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{ca}");
        // With a path below it, a mirror says the whole of where its API begins.
        if mirror.trim_end_matches('/').matches('/').count() > 2 {
            text.push_str("override_path = true\n");
        }
    }
    text
}

/// Who the host is, as podman's auth.json; nothing where it is nobody anywhere.
fn credentials(wanted: &BTreeMap<String, Registry>) -> anyhow::Result<Option<String>> {
    let mut file = AuthFile::default();
    let mut any = false;
    for (name, registry) in wanted {
        if let (Some(username), Some(password)) = (&registry.username, &registry.password) {
            file.set(name, username, password);
            any = true;
        }
    }
    any.then(|| Ok(serde_json::to_string_pretty(&file)? + "\n")).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(mirrors: &[&str], ca: Option<&str>, user: Option<&str>) -> Registry {
        Registry {
            mirrors: mirrors.iter().map(|&mirror| mirror.to_owned()).collect(),
            ca: ca.map(str::to_owned),
            plain_http: None,
            username: user.map(str::to_owned),
            password: user.map(|_| "S3CRET".to_owned()),
        }
    }

    #[test]
    fn registries_come_and_go_and_are_left_alone_when_right() {
        let folder = tempfile::tempdir().unwrap();
        let (registries, run) = (folder.path().join("certs.d"), folder.path().join("run"));
        let at = |name: &str| registries.join(name);
        let apply = |wanted: &BTreeMap<String, Registry>, dry| apply(wanted, &registries, &run, dry);
        assert_eq!(apply(&BTreeMap::new(), false).unwrap(), None);
        let mut wanted =
            BTreeMap::from([("r.example:5000".to_owned(), told(&["http://m/v2/p"], Some("CA"), Some("u")))]);
        let names = || "r.example:5000".to_owned();
        assert_eq!(apply(&wanted, true).unwrap(), Some(Outcome::Applied(names())));
        assert!(!registries.exists());
        assert_eq!(apply(&wanted, false).unwrap(), Some(Outcome::Applied(names())));
        assert_eq!(apply(&wanted, false).unwrap(), Some(Outcome::Unchanged(names())));
        let text = fs::read_to_string(at("r.example:5000/hosts.toml")).unwrap();
        assert!(text.contains("server = \"https://r.example:5000\"\nca = \"ca.crt\"\n"), "{text}");
        assert!(text.contains("[host.\"http://m/v2/p\"]") && text.contains("override_path = true"), "{text}");
        let auth = fs::read_to_string(run.join(AUTH)).unwrap();
        assert!(!auth.contains("S3CRET") && auth.contains("dTpTM0NSRVQ="), "{auth}");
        // Without the authority and who one is, and then without all of it; what is another's stays.
        wanted.insert("r.example:5000".into(), told(&[], None, None));
        assert_eq!(apply(&wanted, false).unwrap(), Some(Outcome::Applied(names())));
        assert!(!at("r.example:5000/ca.crt").exists() && !run.join(AUTH).exists());
        fs::create_dir_all(at("own.example")).unwrap();
        fs::write(at("own.example/hosts.toml"), "server = \"https://own.example\"\n").unwrap();
        assert_eq!(apply(&BTreeMap::new(), false).unwrap(), Some(Outcome::Applied("none".into())));
        assert!(!at("r.example:5000").exists() && at("own.example/hosts.toml").exists());
        let other = BTreeMap::from([("own.example".to_owned(), told(&[], None, None))]);
        assert!(apply(&other, false).unwrap_err().to_string().contains("by somebody else"));
    }

    #[test]
    fn what_is_said_is_what_containerd_reads() {
        let text = description("docker.io", &told(&["https://m.example"], None, None));
        let read: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(read["server"].as_str(), Some("https://registry-1.docker.io"));
        assert_eq!(read["host"]["https://m.example"]["capabilities"][0].as_str(), Some("pull"));
        assert!(read["host"]["https://m.example"].get("override_path").is_none());
        let every = description(EVERY, &told(&["https://m.example"], None, None));
        assert!(!every.contains("server"), "{every}");
    }
}
