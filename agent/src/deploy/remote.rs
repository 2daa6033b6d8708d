//! Owns the remotes of the system repository: where updates come from and whose keys are trusted.

use std::path::PathBuf;

use gio::Cancellable;
use glib::{Bytes, VariantDict};
use keelson_common::fs::{atomic_write, remove_if_there};
use ostree::{Repo, RepoRemoteChange};
use serde::{Deserialize, Serialize};

use crate::model::request::RemoteChange;

use super::error::DeployError;
use super::host::Host;
use super::keyring;

/// The options of a remote that a change of its URL leaves as they are.
const KEPT: [&str; 9] = [
    "contenturl",
    "proxy",
    "tls-ca-path",
    "tls-client-cert-path",
    "tls-client-key-path",
    "tls-permissive",
    "unconfigured-state",
    "gpg-verify",
    "gpg-verify-summary",
];

/// A remote, as `keelctl remote` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteInfo {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: Option<String>,
    /// Whether commits from it must be signed by one of `keys`.
    pub gpg_verify: bool,
    /// Fingerprints of the keys trusted for it.
    pub keys: Vec<String>,
}

/// Every remote of the repository.
pub fn list(host: &Host) -> Vec<RemoteInfo> {
    let repo = host.repo();
    repo.remote_list()
        .iter()
        .map(|name| RemoteInfo {
            name: name.to_string(),
            url: repo.remote_get_url(name).ok().map(String::from),
            gpg_verify: repo.remote_get_gpg_verify(name).unwrap_or(true),
            keys: keys(host, name),
        })
        .collect()
}

fn keys(host: &Host, name: &str) -> Vec<String> {
    let Some(path) = Some(keyring_file(host, name)).filter(|path| path.exists()) else { return Vec::new() };
    keyring::fingerprints(&path).unwrap_or_else(|error| {
        tracing::warn!(remote = name, "cannot list the trusted keys: {}", error.chain());
        Vec::new()
    })
}

/// Applies a change; a remote that is not there is added, with verification on.
pub fn change(host: &mut Host, name: &str, change: &RemoteChange) -> Result<(), DeployError> {
    // Whole before anything is touched, so that no failure leaves the host without a key.
    let keyring = replacement(host, name, change)?;
    let added = change.key.as_deref().filter(|_| !change.replace_keys);
    let added = added.map(|key| keyring::fingerprints_in(key).map(|ids| (key, ids))).transpose()?;
    let before = snapshot(host, name);
    let written = write(host, name, change.url.as_deref(), keyring.as_deref(), added);
    // With the new URL and the old keys, it would take no version from anywhere.
    if written.is_err() && change.url.is_some() {
        restore(host, &before)?;
    }
    host.signatures.clear();
    written
}

/// Writes the URL, the keyring that takes the place of the one there is, and a key that is added with its ids.
fn write(
    host: &Host,
    name: &str,
    url: Option<&str>,
    keyring: Option<&[u8]>,
    added: Option<(&[u8], Vec<String>)>,
) -> Result<(), DeployError> {
    let repo = host.repo();
    if let Some(url) = url {
        set_url(&repo, name, url)?;
    }
    if let Some(keyring) = keyring {
        write_keys(host, name, keyring)?;
    }
    if let Some((key, ids)) = added {
        import(&repo, name, key, &ids)?;
    }
    Ok(())
}

/// The keyring that takes the place of the one there is; nothing where no key goes.
fn replacement(host: &Host, name: &str, change: &RemoteChange) -> Result<Option<Vec<u8>>, DeployError> {
    match (&change.key, change.replace_keys, change.forget.first()) {
        (Some(key), true, _) => keyring::made_of(key).map(Some),
        (None, true, _) => Ok(Some(Vec::new())),
        (_, false, None) => Ok(None),
        (_, false, Some(first)) => {
            let path = keyring_file(host, name);
            if !path.exists() {
                return Err(DeployError::NoKey { fingerprint: first.clone() });
            }
            keyring::without(&path, &change.forget).map(Some)
        }
    }
}

fn import(repo: &Repo, name: &str, key: &[u8], ids: &[String]) -> Result<(), DeployError> {
    // libostree imports no key from an empty list of ids, and the crate cannot leave the list out.
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let stream = gio::MemoryInputStream::from_bytes(&Bytes::from(key));
    repo.remote_gpg_import(name, Some(&stream), &ids, Cancellable::NONE)
        .map(drop)
        .map_err(DeployError::ostree("cannot import the key"))
}

fn set_url(repo: &Repo, name: &str, url: &str) -> Result<(), DeployError> {
    let options = VariantDict::new(None);
    let known = repo.remote_list().iter().any(|remote| remote == name);
    for key in KEPT {
        if let Some(value) = repo.remote_option(name, key, None).ok().flatten().filter(|_| known) {
            options.insert(key, value.as_str());
        }
    }
    if !known {
        options.insert("gpg-verify", true);
    }
    repo.remote_change(
        gio::File::NONE,
        RepoRemoteChange::Replace,
        name,
        Some(url),
        Some(&options.end()),
        Cancellable::NONE,
    )
    .map_err(DeployError::ostree(format!("cannot set the URL of remote `{name}`")))
}

/// A remote's URL and keyring, to go back to.
#[derive(Debug)]
pub struct Snapshot {
    name: String,
    url: Option<String>,
    /// Empty where there was none, nothing where it could not be read.
    keyring: Option<Vec<u8>>,
}

/// Remembers a remote.
pub fn snapshot(host: &Host, name: &str) -> Snapshot {
    let keyring = match std::fs::read(keyring_file(host, name)) {
        Ok(content) => Some(content),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
        Err(_) => None,
    };
    Snapshot { name: name.to_owned(), url: host.repo().remote_get_url(name).ok().map(String::from), keyring }
}

/// Puts a remote back.
pub fn restore(host: &mut Host, before: &Snapshot) -> Result<(), DeployError> {
    let repo = host.repo();
    match &before.url {
        Some(url) => set_url(&repo, &before.name, url)?,
        None => repo
            .remote_change(
                gio::File::NONE,
                RepoRemoteChange::DeleteIfExists,
                &before.name,
                None,
                None,
                Cancellable::NONE,
            )
            .map_err(DeployError::ostree(format!("cannot remove remote `{}` again", before.name)))?,
    }
    if let Some(keyring) = &before.keyring {
        write_keys(host, &before.name, keyring)?;
    }
    host.signatures.clear();
    Ok(())
}

/// Where libostree keeps the keys of a remote. (The repository's own idea of its path leads through
/// `/proc/self`, which means nothing to the programs we run.)
fn keyring_file(host: &Host, name: &str) -> PathBuf {
    host.root().join("ostree/repo").join(format!("{name}.trustedkeys.gpg"))
}

/// Has a remote trust the keys of a keyring and no others, at one stroke; an empty one is none.
fn write_keys(host: &Host, name: &str, keyring: &[u8]) -> Result<(), DeployError> {
    let path = keyring_file(host, name);
    let written = if keyring.is_empty() { remove_if_there(&path) } else { atomic_write(&path, keyring, 0o644) };
    written.map_err(|source| DeployError::Io { path, source })
}
