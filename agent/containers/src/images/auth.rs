//! Credentials of registries: `auth.json` as podman, skopeo and docker write it, and the header that
//! Docker's clients send it in.
//!
//! ```json
//! { "auths": { "registry.example.org": { "auth": "dXNlcjpwYXNzd29yZA==" } } }
//! ```
//!
//! A key may also name a repository, or its beginning: the longest one that fits is taken.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bollard::auth::DockerCredentials;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::reference;
use crate::error::{Error, Result};

/// How one proves who one is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// By name and password.
    Password(String, String),
    /// By a token that the registry itself takes.
    Token(String),
}

/// Passwords are in no log.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password(name, _) => write!(formatter, "Password({name:?}, …)"),
            Self::Token(_) => formatter.write_str("Token(…)"),
        }
    }
}

/// A file of credentials. What it has beyond them stays in it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Value>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// What `auths` has for a registry.
#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    registrytoken: String,
}

impl AuthFile {
    /// Reads the file; none where it is not there.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::failed(format!("read {}", path.display()), error)),
        };
        if text.trim().is_empty() {
            return Ok(Some(Self::default()));
        }
        let file =
            serde_json::from_str(&text).map_err(|error| Error::failed(format!("read {}", path.display()), error))?;
        Ok(Some(file))
    }

    /// Writes the file, for its owner only.
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Error::failed(format!("write {}", path.display()), error);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(&error))?;
        keelson_common::fs::atomic_write(path, format!("{text}\n").as_bytes(), 0o600).map_err(|error| failed(&error))
    }

    /// The credentials for a repository, `registry.example.org/team/app`, or for a registry.
    pub fn find(&self, repository: &str) -> Result<Option<Credentials>> {
        let fitting = self.auths.iter().filter(|(key, _)| fits(&normal(key), repository));
        let Some((key, value)) = fitting.max_by_key(|(key, _)| normal(key).len()) else { return Ok(None) };
        let broken = || Error::Invalid(format!("the credentials of {key} cannot be read: run 'keelctl login {key}'"));
        let entry: Entry = serde_json::from_value(value.clone()).map_err(|_| broken())?;
        if !entry.registrytoken.is_empty() {
            return Ok(Some(Credentials::Token(entry.registrytoken)));
        }
        if entry.auth.is_empty() {
            return Ok(None);
        }
        decoded(&entry.auth).map(Some).ok_or_else(broken)
    }

    /// Sets the credentials of a registry or repository.
    pub fn set(&mut self, key: &str, name: &str, password: &str) {
        let auth = STANDARD.encode(format!("{name}:{password}"));
        self.remove(key);
        self.auths.insert(normal(key), serde_json::json!({ "auth": auth }));
    }

    /// Removes the credentials of a registry or repository; tells whether there were any.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.auths.len();
        self.auths.retain(|other, _| normal(other) != normal(key));
        self.auths.len() < before
    }
}

/// `NAME:PASSWORD` in base64.
fn decoded(auth: &str) -> Option<Credentials> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Credentials::Password(name.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// A key as registries are named: Docker writes whole addresses.
pub fn normal(key: &str) -> String {
    let name = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let name = name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2")).unwrap_or(name);
    match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

/// Whether `repository` is what the key names, or below it.
fn fits(key: &str, repository: &str) -> bool {
    repository.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Where a user's credentials may lie, in the order they are looked at. `$REGISTRY_AUTH_FILE` alone
/// counts where it is set.
pub fn files(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let variable = |name: &str| variable(name).filter(|value| !value.as_os_str().is_empty());
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = variable("HOME").unwrap_or_else(|| PathBuf::from("/root"));
    let run = variable("XDG_RUNTIME_DIR").map(|run| run.join("containers/auth.json"));
    let config = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("containers/auth.json");
    let docker = variable("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker")).join("config.json");
    run.into_iter().chain([config, docker]).collect()
}

/// Where `login` writes: what lasts over a reboot.
pub fn file_to_write(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let files = files(variable);
    let lasting = files.iter().find(|file| file.ends_with(".config/containers/auth.json"));
    lasting.or_else(|| files.first()).cloned().unwrap_or_else(|| PathBuf::from("/root/.config/containers/auth.json"))
}

/// The credentials for an image in the first of these files that has any.
pub fn lookup(files: &[PathBuf], image: &str) -> Result<Option<Credentials>> {
    let repository = reference::repository(&reference::parse(image)?);
    for file in files {
        if let Some(file) = AuthFile::read(file)?
            && let Some(credentials) = file.find(&repository)?
        {
            return Ok(Some(credentials));
        }
    }
    Ok(None)
}

/// The credentials in the first of a daemon's own files that has some.
pub fn daemon(paths: &[PathBuf], repository: &str) -> Result<Option<Credentials>> {
    for path in paths {
        if let Some(found) = own(path, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The credentials in a file that only root may read.
fn own(path: &Path, repository: &str) -> Result<Option<Credentials>> {
    use std::os::unix::fs::PermissionsExt;
    let Some(file) = AuthFile::read(path)? else { return Ok(None) };
    let mode = std::fs::metadata(path).map(|file| file.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        return Err(Error::Failed(format!("{0} can be read by others than root: run 'chmod 600 {0}'", path.display())));
    }
    file.find(repository)
}

impl Credentials {
    /// As Docker's clients send them.
    pub fn docker(self) -> DockerCredentials {
        match self {
            Self::Password(name, password) => {
                DockerCredentials { username: Some(name), password: Some(password), ..DockerCredentials::default() }
            }
            Self::Token(token) => DockerCredentials { registrytoken: Some(token), ..DockerCredentials::default() },
        }
    }

    /// From `X-Registry-Auth`; none where a client sends an empty one.
    pub fn from_header(header: &str) -> Result<Option<Self>> {
        let invalid = || Error::Invalid("the header X-Registry-Auth is not the base64 of a JSON".to_owned());
        let text = header.trim().trim_end_matches('=');
        if text.is_empty() {
            return Ok(None);
        }
        let padded = format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
        let data = URL_SAFE.decode(&padded).or_else(|_| STANDARD.decode(&padded)).map_err(|_| invalid())?;
        let given: Option<DockerCredentials> = serde_json::from_slice(&data).map_err(|_| invalid())?;
        Self::from_docker(given.unwrap_or_default())
    }

    fn from_docker(given: DockerCredentials) -> Result<Option<Self>> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(given.registrytoken) {
            return Ok(Some(Self::Token(token)));
        }
        if let (Some(name), Some(password)) = (filled(given.username), filled(given.password)) {
            return Ok(Some(Self::Password(name, password)));
        }
        let auth = filled(given.auth);
        Ok(auth.and_then(|auth| decoded(&auth)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> AuthFile {
        serde_json::from_str(text).unwrap()
    }

    fn password(name: &str, password: &str) -> Credentials {
        Credentials::Password(name.to_owned(), password.to_owned())
    }

    #[test]
    fn the_longest_fitting_key_is_taken() {
        let mut auths = AuthFile::default();
        auths.set("r.example:5000", "all", "1");
        auths.set("r.example:5000/team", "team", "2:3");
        let find = |repository: &str| auths.find(repository).unwrap();
        assert_eq!(find("r.example:5000/other"), Some(password("all", "1")));
        assert_eq!(find("r.example:5000/team/app"), Some(password("team", "2:3")));
        assert_eq!(find("r.example:5000/teams"), Some(password("all", "1")));
        assert_eq!(find("r.example:50001/x"), None);
        assert!(auths.remove("https://r.example:5000/"));
        assert!(!auths.remove("r.example:5000"));
        assert_eq!(auths.find("r.example:5000/x").unwrap(), None);
    }

    #[test]
    fn dockers_own_registry_has_an_old_key() {
        let auths = file(r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}},"credsStore":"x"}"#);
        assert_eq!(auths.find("docker.io/library/busybox").unwrap(), Some(password("a", "b")));
        assert!(serde_json::to_string(&auths).unwrap().contains("credsStore"));
    }

    #[test]
    fn broken_entries_name_their_key() {
        let auths = file(r#"{"auths":{"r.example":{"auth":"***"},"empty.example":{}}}"#);
        assert!(auths.find("r.example/x").unwrap_err().to_string().contains("keelctl login r.example"));
        assert_eq!(auths.find("empty.example/x").unwrap(), None);
    }

    #[test]
    fn headers_are_read_with_and_without_padding() {
        let json = r#"{"username":"u","password":"p?>","serveraddress":"r.example"}"#;
        for engine in [&URL_SAFE, &STANDARD] {
            let header = engine.encode(json);
            assert_eq!(Credentials::from_header(&header).unwrap(), Some(password("u", "p?>")));
            assert_eq!(Credentials::from_header(header.trim_end_matches('=')).unwrap(), Some(password("u", "p?>")));
        }
        assert_eq!(Credentials::from_header("").unwrap(), None);
        assert_eq!(Credentials::from_header(&URL_SAFE.encode("{}")).unwrap(), None);
        assert_eq!(Credentials::from_header(&URL_SAFE.encode("null")).unwrap(), None);
        let auth = URL_SAFE.encode(r#"{"auth":"YTpi"}"#);
        assert_eq!(Credentials::from_header(&auth).unwrap(), Some(password("a", "b")));
        assert!(Credentials::from_header("!").is_err());
    }

    #[test]
    fn files_are_looked_at_in_order() {
        let of = |set: &'static [(&'static str, &'static str)]| {
            files(move |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
        };
        assert_eq!(of(&[("REGISTRY_AUTH_FILE", "/a"), ("HOME", "/h")]), [PathBuf::from("/a")]);
        let expected = ["/run/u/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"]
            .map(PathBuf::from);
        assert_eq!(of(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/u")]), expected);
    }

    #[test]
    fn the_first_file_that_has_any_wins_and_passwords_are_not_logged() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["none", "other", "this", "late"].map(|name| folder.path().join(name));
        for (path, key, name) in
            [(&paths[1], "x.example", "x"), (&paths[2], "r.example", "this"), (&paths[3], "r.example", "late")]
        {
            let mut auths = AuthFile::default();
            auths.set(key, name, "secret");
            auths.write(path).unwrap();
        }
        let found = lookup(&paths, "r.example/app:1").unwrap();
        assert_eq!(found, Some(password("this", "secret")));
        assert!(!format!("{found:?}").contains("secret"));
        assert_eq!(daemon(&paths[2..3], "r.example/app").unwrap(), found);
        std::fs::set_permissions(&paths[2], std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(daemon(&paths[2..3], "r.example/app").unwrap_err().to_string().contains("chmod 600"));
    }
}
