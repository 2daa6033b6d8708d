//! Owns making certificate authorities and what they sign: of clusters on hosts, of clusters on a build
//! machine, of those that tests start.

use std::fmt;
use std::time::{Duration, SystemTime};

pub use rcgen::Error;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use sha2::{Digest, Sha256};

use crate::secret::CaHash;

/// A year of certificates.
pub const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Clocks of machines differ: certificates hold from so long ago.
const BEFORE: Duration = Duration::from_secs(60 * 60);

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key, PKCS #8.
    pub key: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Whose certificate it is, and what for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The user that an API server takes it for.
    pub user: &'a str,
    /// That user's group.
    pub group: Option<&'a str>,
    /// Names and addresses of a server; it is none where there are none.
    pub names: &'a [String],
    /// Whether others are spoken to with it.
    pub client: bool,
}

/// An authority: its key, and what its certificate says of it.
pub struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Makes one.
    pub fn create(name: &str, lasts: Duration) -> Result<(Self, Pair), Error> {
        let key = KeyPair::generate()?;
        let mut params = params(Subject { user: name, ..Subject::default() }, lasts)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let pair = Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() };
        Ok((Self(Issuer::new(params, key)), pair))
    }

    /// Takes one that there is. That key and certificate belong together is not looked at.
    pub fn open(pair: &Pair) -> Result<Self, Error> {
        Issuer::from_ca_cert_pem(&pair.certificate, KeyPair::from_pem(&pair.key)?).map(Self)
    }

    /// Takes one that a person brought; says what is wrong with it.
    pub fn check(pair: &Pair) -> Result<Self, String> {
        let authority = Self::open(pair).map_err(|_| "its key or its certificate cannot be read".to_owned())?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(pair.certificate.as_bytes())
            .map_err(|_| "its certificate is no PEM".to_owned())?;
        let certificate = pem.parse_x509().map_err(|_| "its certificate cannot be read".to_owned())?;
        if certificate.public_key().raw != authority.public_key() {
            return Err("its key and its certificate do not belong together".to_owned());
        }
        if !certificate.is_ca() {
            return Err("its certificate is not an authority's".to_owned());
        }
        Ok(authority)
    }

    /// Its public key, DER of a SubjectPublicKeyInfo.
    pub fn public_key(&self) -> Vec<u8> {
        self.0.key().subject_public_key_info()
    }

    /// The hash of its public key, as kubeadm prints it.
    pub fn hash(&self) -> CaHash {
        CaHash::new(Sha256::digest(self.public_key()).into())
    }

    /// Makes a key and signs a certificate for it.
    pub fn sign(&self, subject: Subject<'_>, lasts: Duration) -> Result<Pair, Error> {
        let key = KeyPair::generate()?;
        let mut params = params(subject, lasts)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if !subject.names.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if subject.client {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        params.use_authority_key_identifier_extension = true;
        Ok(Pair { certificate: params.signed_by(&key, &self.0)?.pem(), key: key.serialize_pem() })
    }
}

/// The hash of the key that a certificate is for, as kubeadm prints that of an authority; nothing where it is none.
pub fn certificate_hash(pem: &str) -> Option<CaHash> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    Some(CaHash::new(Sha256::digest(certificate.public_key().raw).into()))
}

/// Makes a key and a request for a certificate for it, PEM: the key, then the request.
pub fn request(subject: Subject<'_>) -> Result<(String, String), Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(subject.names)?;
    params.distinguished_name = name(subject);
    Ok((key.serialize_pem(), params.serialize_request(&key)?.pem()?))
}

/// A pair of keys without a certificate, PEM: private and public.
pub fn keys() -> Result<(String, String), Error> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn params(subject: Subject<'_>, lasts: Duration) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(subject.names)?;
    params.distinguished_name = name(subject);
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - BEFORE).into(), (now + lasts).into());
    Ok(params)
}

fn name(subject: Subject<'_>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = subject.group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, subject.user);
    name
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// By openssl, which is nothing of ours.
    #[test]
    fn openssl_takes_what_is_signed_for_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let verify = |authority: &str, purpose: &str, certificate: &str| {
            let mut openssl = Command::new("openssl");
            openssl.args(["verify", "-purpose", purpose, "-CAfile"]).arg(path(authority)).arg(path(certificate));
            openssl.output().unwrap().status.success()
        };
        let (one, pair) = Authority::create("kubernetes", YEAR).unwrap();
        let (other, others) = Authority::create("kubernetes", YEAR).unwrap();
        let names = ["m.example".to_owned(), "10.0.0.1".to_owned()];
        let server = one.sign(Subject { user: "m", names: &names, ..Subject::default() }, YEAR).unwrap();
        let client = Subject { user: "u", group: Some("g"), client: true, ..Subject::default() };
        let client = Authority::open(&pair).unwrap().sign(client, YEAR).unwrap();
        for (name, pair) in [("ca", &pair), ("other", &others), ("server", &server), ("client", &client)] {
            std::fs::write(path(name), &pair.certificate).unwrap();
        }
        assert!(verify("ca", "sslserver", "server") && verify("ca", "sslclient", "client"));
        assert!(!verify("ca", "sslclient", "server") && !verify("ca", "sslserver", "client"));
        assert!(!verify("other", "sslserver", "server"));
        assert_eq!(one.hash(), Authority::open(&pair).unwrap().hash());
        assert_ne!(one.hash(), other.hash());
        assert_eq!(certificate_hash(&pair.certificate), Some(one.hash()));
        assert_eq!(certificate_hash("nothing"), None);
        assert!(Authority::check(&pair).is_ok());
        let mixed = Pair { certificate: pair.certificate.clone(), key: others.key.clone() };
        assert!(Authority::check(&mixed).err().unwrap().contains("belong together"));
        assert!(!format!("{pair:?}").contains("PRIVATE"));
    }
}
