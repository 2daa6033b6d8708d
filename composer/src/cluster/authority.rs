//! Owns a cluster's authority: made once, given to the master in its seed, and used here for one certificate, its
//! administrator's.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use sha2::{Digest, Sha256};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the certificates are good for: ten years.
const VALID: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// What tokens are made of.
const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// A key and its certificate, both PEM.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

/// All that opens a new cluster.
#[derive(Clone)]
pub struct Secrets {
    /// The authority.
    pub authority: Pair,
    /// The hash of its public key, as kubeadm prints it.
    pub hash: String,
    /// The administrator.
    pub administrator: Pair,
    /// The bootstrap token that nodes join by.
    pub token: String,
}

impl Secrets {
    /// New ones.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = params("kubernetes", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).context("cannot sign the authority's certificate")?;
        let hash = format!("sha256:{}", hex::encode(Sha256::digest(key.subject_public_key_info())));
        let authority = Pair { certificate: certificate.pem(), key: key.serialize_pem() };
        let administrator = client(&Issuer::new(params, key), "kubernetes-admin", "system:masters")?;
        let token = format!("{}.{}", word(6)?, word(16)?);
        Ok(Self { authority, hash, administrator, token })
    }
}

/// A client's certificate: the API server takes `user` for the name of a user and `group` for a group of theirs.
fn client(issuer: &Issuer<'_, KeyPair>, user: &str, group: &str) -> Result<Pair> {
    let key = KeyPair::generate().context("cannot make a key")?;
    let mut params = params(user, Some(group));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer).context("cannot sign the administrator's certificate")?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name.push(DnType::CommonName, user);
    // From yesterday: a guest's clock may be behind.
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + VALID).into();
    params
}

/// A random word of so many letters and digits, each as likely as any other.
fn word(length: usize) -> Result<String> {
    let mut word = String::new();
    while word.len() < length {
        let limit = 252; // The greatest multiple of 36 that a byte holds.
        let [byte] = random::<1>()?;
        if byte < limit {
            word.push(char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
        }
    }
    Ok(word)
}

/// Random bytes of the kernel's.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .context("the kernel gives no random bytes")?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelson_common::secret::{CaHash, Token};

    #[test]
    fn secrets_are_what_hosts_take() {
        let secrets = Secrets::new().unwrap();
        assert!(secrets.token.parse::<Token>().is_ok() && secrets.hash.parse::<CaHash>().is_ok());
        for pair in [&secrets.authority, &secrets.administrator] {
            assert!(pair.certificate.starts_with("-----BEGIN CERTIFICATE-----"));
            assert!(pair.key.starts_with("-----BEGIN PRIVATE KEY-----"));
            assert!(ureq::tls::Certificate::from_pem(pair.certificate.as_bytes()).is_ok());
        }
        assert_ne!(secrets.token, Secrets::new().unwrap().token);
    }
}
