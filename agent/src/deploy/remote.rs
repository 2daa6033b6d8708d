//! Owns the remotes of the system repository: where updates come from and whose keys are trusted.

use std::io::Write;
use std::path::PathBuf;

use gio::Cancellable;
use glib::{Bytes, VariantDict};
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
    let repo = host.repo();
    if let Some(url) = &change.url {
        set_url(&repo, name, url)?;
    }
    if change.replace_keys {
        remove_keys(host, name)?;
    }
    if let Some(key) = &change.key {
        import(&repo, name, key)?;
    }
    host.signatures.clear();
    Ok(())
}

fn import(repo: &Repo, name: &str, key: &[u8]) -> Result<(), DeployError> {
    let io = |source| DeployError::Io { path: std::env::temp_dir(), source };
    let mut file = tempfile::NamedTempFile::new().map_err(io)?;
    file.write_all(key).map_err(io)?;
    // libostree imports no key from an empty list of ids, and the crate cannot leave the list out.
    let ids = keyring::fingerprints(file.path()).map_err(|_| DeployError::BadKey)?;
    if ids.is_empty() {
        return Err(DeployError::BadKey);
    }
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
    keyring: Option<Vec<u8>>,
}

/// Remembers a remote.
pub fn snapshot(host: &Host, name: &str) -> Snapshot {
    Snapshot {
        name: name.to_owned(),
        url: host.repo().remote_get_url(name).ok().map(String::from),
        keyring: std::fs::read(keyring_file(host, name)).ok(),
    }
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
    remove_keys(host, &before.name)?;
    if let Some(content) = &before.keyring {
        let path = keyring_file(host, &before.name);
        keelson_common::fs::atomic_write(&path, content, 0o644).map_err(|source| DeployError::Io { path, source })?;
    }
    host.signatures.clear();
    Ok(())
}

/// Where libostree keeps the keys of a remote. (The repository's own idea of its path leads through
/// `/proc/self`, which means nothing to the programs we run.)
fn keyring_file(host: &Host, name: &str) -> PathBuf {
    host.root().join("ostree/repo").join(format!("{name}.trustedkeys.gpg"))
}

fn remove_keys(host: &Host, name: &str) -> Result<(), DeployError> {
    let path = keyring_file(host, name);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(DeployError::Io { path, source }),
        _ => Ok(()),
    }
}
