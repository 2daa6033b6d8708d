//! Owns `auth.json` as keelctl uses it: where it is, the credentials for a registry, and changing
//! it without losing what others wrote.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use oci_spec::distribution::Reference;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The key under which Docker keeps its own registry.
const HUB: &str = "docker.io";
const HUB_KEY: &str = "https://index.docker.io/v1/";

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Map<String, Value>>,
    /// What others keep in it.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A registry's host out of what a person calls it.
pub fn registry(server: &str) -> String {
    let host = server.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or(host);
    if matches!(host, "index.docker.io" | "registry-1.docker.io" | "") { HUB.to_owned() } else { host.to_owned() }
}

/// The header with the credentials for the registry of `image`; none where there are none.
pub fn header(image: &str) -> anyhow::Result<Option<String>> {
    let Ok(reference) = image.parse::<Reference>() else { return Ok(None) };
    let registry = reference.registry();
    for path in read_from() {
        let Some(file) = read(&path)? else { continue };
        if let Some((username, password)) = credentials(&file, registry, reference.repository()) {
            return Ok(Some(encode(&json!({ "username": username, "password": password, "serveraddress": registry }))));
        }
    }
    Ok(None)
}

/// The header that says that there are no credentials.
pub fn nobody() -> String {
    encode(&json!({}))
}

fn encode(value: &Value) -> String {
    URL_SAFE.encode(value.to_string())
}

/// Keeps credentials.
pub fn store(registry: &str, username: &str, password: &str) -> anyhow::Result<()> {
    change(|file| {
        let auth = STANDARD.encode(format!("{username}:{password}"));
        file.auths.insert(registry.to_owned(), Map::from_iter([("auth".to_owned(), Value::from(auth))]));
    })
}

/// Forgets credentials; whether there were any.
pub fn forget(registry: &str) -> anyhow::Result<bool> {
    let Some(path) = written_to() else { return Ok(false) };
    let Some(mut file) = read(&path)? else { return Ok(false) };
    let keys: Vec<String> = keys(registry, "").filter(|key| file.auths.remove(key).is_some()).collect();
    if !keys.is_empty() {
        write(&path, &file)?;
    }
    Ok(!keys.is_empty())
}

fn change(change: impl FnOnce(&mut File)) -> anyhow::Result<()> {
    let path = written_to().context("there is no home folder to keep credentials in; set REGISTRY_AUTH_FILE")?;
    let mut file = read(&path)?.unwrap_or_default();
    change(&mut file);
    write(&path, &file)
}

/// Where credentials are kept.
fn written_to() -> Option<PathBuf> {
    read_from().into_iter().next()
}

/// Where credentials are looked for, in order.
fn read_from() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = variable("REGISTRY_AUTH_FILE") {
        return vec![path];
    }
    let home = variable("HOME");
    let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker = variable("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    let own = config.map(|folder| folder.join("containers/auth.json"));
    own.into_iter().chain(docker.map(|folder| folder.join("config.json"))).collect()
}

fn read(path: &Path) -> anyhow::Result<Option<File>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        Ok(text) if text.trim_ascii().is_empty() => Ok(None),
        Ok(text) => serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is damaged", path.display())),
    }
}

fn write(path: &Path, file: &File) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(cannot)?;
    let mut new = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .with_context(cannot)?;
    new.write_all(&serde_json::to_vec_pretty(file)?).with_context(cannot)?;
    new.as_file().sync_all().with_context(cannot)?;
    new.persist(path).with_context(cannot)?;
    Ok(())
}

/// What an entry for a repository may be called, the closest first.
fn keys(registry: &str, repository: &str) -> impl Iterator<Item = String> {
    let mut keys = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        keys.push(format!("{registry}/{path}"));
        path = path.rsplit_once('/').map_or("", |(above, _)| above);
    }
    keys.push(registry.to_owned());
    keys.push(format!("https://{registry}"));
    if registry == HUB {
        keys.push(HUB_KEY.to_owned());
    }
    keys.into_iter()
}

fn credentials(file: &File, registry: &str, repository: &str) -> Option<(String, String)> {
    keys(registry, repository).find_map(|key| {
        let auth = file.auths.get(&key)?.get("auth")?.as_str()?;
        let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
        text.split_once(':').map(|(username, password)| (username.to_owned(), password.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(registry("https://registry.example/v2/"), "registry.example");
        assert_eq!(registry("localhost:5000"), "localhost:5000");
        assert_eq!(registry("https://index.docker.io/v1/"), "docker.io");
    }

    #[test]
    fn the_closest_entry_counts() {
        let auth = |text: &str| json!({ "auth": STANDARD.encode(text) });
        let file: File = serde_json::from_value(json!({
            "auths": {
                "r.example": auth("me:all"),
                "r.example/team": auth("me:te:am"),
                "https://index.docker.io/v1/": auth("hub:x"),
                "odd.example": { "auth": "!" },
            },
            "credHelpers": { "x": "y" },
        }))
        .unwrap();
        let of = |registry, repository| credentials(&file, registry, repository).map(|(_, password)| password);
        assert_eq!(of("r.example", "web").as_deref(), Some("all"));
        assert_eq!(of("r.example", "team/web").as_deref(), Some("te:am"));
        assert_eq!(of("docker.io", "library/debian").as_deref(), Some("x"));
        assert_eq!(of("odd.example", "web"), None);
        assert_eq!(file.rest["credHelpers"]["x"], "y");
    }

    #[test]
    fn what_is_kept_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/auth.json");
        write(&path, &File::default()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(read(&path).unwrap().is_some());
    }
}
