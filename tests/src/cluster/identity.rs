//! Owns the keys and certificates of a control plane as files: its authority, what that signs, and requests
//! for others to be signed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use keelson_common::pki::{self, Pair, Subject, YEAR};

/// Files of a key and its certificate, `NAME.key` and `NAME.crt`, both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The private key.
    pub key: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
}

impl Identity {
    fn write(folder: &Path, name: &str, pair: &Pair) -> Result<Self> {
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        let this = Self { key: path("key"), certificate: path("crt") };
        write(&this.key, &pair.key)?;
        write(&this.certificate, &pair.certificate)?;
        Ok(this)
    }
}

/// A certificate authority; what it signs is valid for longer than any test.
pub struct Authority {
    signer: pki::Authority,
    folder: PathBuf,
    /// Its own files, `ca.key` and `ca.crt`.
    pub identity: Identity,
}

impl Authority {
    /// A new one with its files in `folder`, which must exist.
    pub fn new(folder: &Path) -> Result<Self> {
        let (signer, pair) = pki::Authority::create("kubernetes", YEAR)?;
        Ok(Self { signer, folder: folder.to_owned(), identity: Identity::write(folder, "ca", &pair)? })
    }

    /// The hash of its public key as kubeadm prints it, `sha256:HEX`.
    pub fn hash(&self) -> String {
        self.signer.hash().to_string()
    }

    /// A client's certificate, in the files `NAME.*`: the API server takes `user` for the name of a
    /// user and `group` for a group of theirs.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<Identity> {
        self.sign(name, Subject { user, group, names: &[], client: true })
    }

    /// A server's certificate, in the files `NAME.*`, for DNS names and addresses.
    pub fn server(&self, name: &str, names: &[&str]) -> Result<Identity> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        self.sign(name, Subject { user: name, group: None, names: &names, client: false })
    }

    fn sign(&self, name: &str, subject: Subject<'_>) -> Result<Identity> {
        Identity::write(&self.folder, name, &self.signer.sign(subject, YEAR)?)
    }
}

/// Makes a key, in the file `NAME.key` of `folder`, and a request for a certificate for it that names
/// `user` and `group`. Gives the key's file and the request, PEM.
pub fn request(folder: &Path, name: &str, user: &str, group: &str) -> Result<(PathBuf, String)> {
    let (key, request) = pki::request(Subject { user, group: Some(group), names: &[], client: false })?;
    let path = folder.join(format!("{name}.key"));
    write(&path, &key)?;
    Ok((path, request))
}

/// Makes a pair of keys without a certificate, PEM, in the files `NAME.key` and `NAME.pub` of `folder`.
pub(super) fn keys(folder: &Path, name: &str) -> Result<()> {
    let (private, public) = pki::keys()?;
    write(&folder.join(format!("{name}.key")), &private)?;
    write(&folder.join(format!("{name}.pub")), &public)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
