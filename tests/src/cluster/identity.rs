//! Owns the keys and certificates of a control plane: its authority, what that signs, and requests
//! for others to be signed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use sha2::{Digest, Sha256};

/// Files of a key and its certificate, `NAME.key` and `NAME.crt`, both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The private key.
    pub key: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
}

impl Identity {
    fn write(folder: &Path, name: &str, key: &KeyPair, certificate: &str) -> Result<Self> {
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        let this = Self { key: path("key"), certificate: path("crt") };
        write(&this.key, &key.serialize_pem())?;
        write(&this.certificate, certificate)?;
        Ok(this)
    }
}

/// A certificate authority; what it signs is valid for longer than any test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its own files, `ca.key` and `ca.crt`.
    pub identity: Identity,
}

impl Authority {
    /// A new one with its files in `folder`, which must exist.
    pub fn new(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject("kubernetes", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let identity = Identity::write(folder, "ca", &key, &params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), folder: folder.to_owned(), identity })
    }

    /// The hash of its public key as kubeadm prints it, `sha256:HEX`.
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(self.issuer.key().subject_public_key_info());
        format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    /// A client's certificate, in the files `NAME.*`: the API server takes `user` for the name of a
    /// user and `group` for a group of theirs.
    pub fn client(&self, name: &str, user: &str, group: Option<&str>) -> Result<Identity> {
        self.sign(name, Vec::new(), user, group, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A server's certificate, in the files `NAME.*`, for DNS names and addresses.
    pub fn server(&self, name: &str, names: &[&str]) -> Result<Identity> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        self.sign(name, names, name, None, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn sign(
        &self,
        name: &str,
        names: Vec<String>,
        user: &str,
        group: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = subject(user, group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        Identity::write(&self.folder, name, &key, &params.signed_by(&key, &self.issuer)?.pem())
    }
}

/// Makes a key, in the file `NAME.key` of `folder`, and a request for a certificate for it that names
/// `user` and `group`. Gives the key's file and the request, PEM.
pub fn request(folder: &Path, name: &str, user: &str, group: &str) -> Result<(PathBuf, String)> {
    let key = KeyPair::generate()?;
    let path = folder.join(format!("{name}.key"));
    write(&path, &key.serialize_pem())?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(user, Some(group));
    Ok((path, params.serialize_request(&key)?.pem()?))
}

/// Makes a pair of keys without a certificate, PEM, in the files `NAME.key` and `NAME.pub` of `folder`.
pub(super) fn keys(folder: &Path, name: &str) -> Result<()> {
    let key = KeyPair::generate()?;
    write(&folder.join(format!("{name}.key")), &key.serialize_pem())?;
    write(&folder.join(format!("{name}.pub")), &key.public_key_pem())
}

fn subject(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    name
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
