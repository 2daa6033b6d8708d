//! Owns which of a pod's credentials an image is pulled with. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use crate::cri::v1::AuthConfig;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const DOCKER: &str = "index.docker.io";

/// As `docker login` writes it.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    /// Both of them, joined by a colon, in base64; goes before them.
    #[serde(default)]
    auth: String,
}

/// The credentials of some secrets by what they are for: a host, perhaps with a path below it.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    by_place: BTreeMap<String, Vec<AuthConfig>>,
}

impl Keyring {
    /// Takes in what there is in a secret. The error says what is wrong with it.
    pub(super) fn add(&mut self, secret: &Secret) -> Result<(), String> {
        let data = |key: &str| secret.data.as_ref()?.get(key).map(|data| data.0.as_slice());
        let entries = match secret.type_.as_deref() {
            Some("kubernetes.io/dockerconfigjson") => match data(".dockerconfigjson") {
                Some(json) => parsed::<Config>(json)?.auths,
                None => return Ok(()),
            },
            Some("kubernetes.io/dockercfg") => match data(".dockercfg") {
                Some(json) => parsed::<BTreeMap<String, Entry>>(json)?,
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        self.add_all(entries)
    }

    /// Takes in what there is in a file as `docker login` writes it; it counts after what was taken in before.
    pub(super) fn add_file(&mut self, json: &[u8]) -> Result<(), String> {
        self.add_all(parsed::<Config>(json)?.auths)
    }

    fn add_all(&mut self, entries: BTreeMap<String, Entry>) -> Result<(), String> {
        for (place, entry) in entries {
            self.by_place.entry(simplified(&place)).or_default().push(entry.credentials()?);
        }
        Ok(())
    }

    /// Credentials that may be the right ones for a repository, the most likely first.
    pub(super) fn lookup(&self, repository: &str) -> Vec<AuthConfig> {
        // What is longer is more exact, and sorts behind.
        let fitting = self.by_place.iter().rev().filter(|(place, _)| fits(place, repository));
        let found: Vec<_> = fitting.flat_map(|(_, credentials)| credentials.iter().cloned()).collect();
        match (found.is_empty(), repository.starts_with("docker.io/")) {
            (true, true) => self.by_place.get(DOCKER).cloned().unwrap_or_default(),
            _ => found,
        }
    }
}

impl Entry {
    fn credentials(self) -> Result<AuthConfig, String> {
        let (username, password) = match self.auth.trim() {
            "" => (self.username, self.password),
            auth => {
                let text = BASE64.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let text = text.ok_or("its field auth is not in base64")?;
                let (username, password) =
                    text.split_once(':').ok_or("its field auth is not of the form USERNAME:PASSWORD")?;
                (username.to_owned(), password.to_owned())
            }
        };
        Ok(AuthConfig { username, password, ..Default::default() })
    }
}

fn parsed<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| format!("it cannot be read: {error}"))
}

/// Host and path, without scheme and without the version of the API.
fn simplified(place: &str) -> String {
    let place = place.strip_prefix("https://").or_else(|| place.strip_prefix("http://")).unwrap_or(place);
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let path = path.strip_prefix("v1/").or_else(|| path.strip_prefix("v2/")).unwrap_or(path);
    if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") }
}

/// Whether a place, whose host may have wildcards, holds a repository.
fn fits(place: &str, repository: &str) -> bool {
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let (own_host, own_path) = repository.split_once('/').unwrap_or((repository, ""));
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let (own_name, own_port) = own_host.split_once(':').unwrap_or((own_host, ""));
    let (labels, own): (Vec<_>, Vec<_>) = (name.split('.').collect(), own_name.split('.').collect());
    port == own_port
        && own_path.starts_with(path)
        && labels.len() == own.len()
        && labels.iter().zip(own).all(|(pattern, label)| is_like(pattern.as_bytes(), label.as_bytes()))
}

/// `*` stands for any text, `?` for one letter.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| is_like(rest, &text[skipped..])),
        ([b'?', rest @ ..], [_, more @ ..]) => is_like(rest, more),
        ([first, rest @ ..], [letter, more @ ..]) => first == letter && is_like(rest, more),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    fn secret(kind: &str, key: &str, content: &str) -> Secret {
        let data = [(key.to_owned(), ByteString(content.as_bytes().to_vec()))].into();
        Secret { type_: Some(kind.to_owned()), data: Some(data), ..Default::default() }
    }

    fn keyring(auths: Value) -> Keyring {
        let mut keyring = Keyring::default();
        let content = json!({"auths": auths}).to_string();
        keyring.add(&secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", &content)).unwrap();
        keyring
    }

    fn users(keyring: &Keyring, repository: &str) -> Vec<String> {
        keyring.lookup(repository).into_iter().map(|auth| format!("{}:{}", auth.username, auth.password)).collect()
    }

    #[test]
    fn the_most_exact_place_comes_first() {
        let keyring = keyring(json!({
            "registry.example": {"username": "all", "password": "1"},
            "https://registry.example/team/": {"auth": "dGVhbTphOmI="},
            "other.example": {"username": "other", "password": "3"},
        }));
        assert_eq!(users(&keyring, "registry.example/team/app"), ["team:a:b", "all:1"]);
        assert_eq!(users(&keyring, "registry.example/app"), ["all:1"]);
        assert!(users(&keyring, "registry.example:5000/app").is_empty());
        assert!(users(&keyring, "elsewhere.example/app").is_empty());
    }

    #[test]
    fn dockers_own_registry_has_many_names() {
        let keyring = keyring(json!({"https://index.docker.io/v1/": {"username": "u", "password": "p"}}));
        assert_eq!(users(&keyring, "docker.io/library/busybox"), ["u:p"]);
        assert!(users(&keyring, "quay.io/library/busybox").is_empty());
    }

    #[test]
    fn hosts_may_have_wildcards() {
        let keyring = keyring(json!({"*.example.org:5000/a": {"username": "u", "password": "p"}}));
        assert_eq!(users(&keyring, "eu.example.org:5000/a/b"), ["u:p"]);
        assert!(users(&keyring, "a.eu.example.org:5000/a/b").is_empty());
        assert!(users(&keyring, "eu.example.org:5000/b").is_empty());
    }

    #[test]
    fn the_old_form_is_read_too() {
        let mut keyring = Keyring::default();
        let content = json!({"registry.example": {"auth": "dTpw"}}).to_string();
        keyring.add(&secret("kubernetes.io/dockercfg", ".dockercfg", &content)).unwrap();
        keyring.add(&secret("Opaque", ".dockercfg", "nonsense")).unwrap();
        assert_eq!(users(&keyring, "registry.example/a"), ["u:p"]);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let mut keyring = Keyring::default();
        let add = |keyring: &mut Keyring, content: &str| {
            keyring.add(&secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", content)).unwrap_err()
        };
        assert!(add(&mut keyring, "nonsense").contains("cannot be read"));
        assert!(add(&mut keyring, r#"{"auths": {"a": {"auth": "!"}}}"#).contains("base64"));
        assert!(add(&mut keyring, r#"{"auths": {"a": {"auth": "dQ=="}}}"#).contains("USERNAME:PASSWORD"));
    }
}
