//! Owns the authorities and what they sign: the cluster's, the one of requests that the API server
//! passes on, and etcd's, so that a certificate is good for one of them only.

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use time::{Duration, OffsetDateTime};

use super::Pair;
use super::identity::Identity;

/// How long an authority lasts.
const AUTHORITY: Duration = Duration::days(3650);
/// How long what it signs lasts.
const LEAF: Duration = Duration::days(365);
/// Clocks of machines differ.
const BEFORE: Duration = Duration::hours(1);

/// An authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// Nodes, and whoever speaks to the API server.
    Cluster,
    /// The API server, speaking to servers that extend it.
    FrontProxy,
    /// etcd and who speaks to it.
    Etcd,
}

impl Signer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::FrontProxy, Self::Etcd];

    /// The name of its files.
    pub fn file(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd-ca",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cluster => "kubernetes",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd-ca",
        }
    }

    /// Makes it.
    pub fn create(self) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let mut params = params(Vec::new(), self.name(), None, AUTHORITY)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
    }
}

/// Checks that a key and a certificate are an authority's.
pub fn issuer(pair: &Pair) -> Result<Issuer<'static, KeyPair>> {
    let key = KeyPair::from_pem(&pair.key).context("its key cannot be read")?;
    let public = key.subject_public_key_info();
    let issuer = Issuer::from_ca_cert_pem(&pair.certificate, key).context("its certificate cannot be read")?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(pair.certificate.as_bytes())?;
    let certificate = pem.parse_x509()?;
    anyhow::ensure!(certificate.public_key().raw == public, "its key and its certificate do not belong together");
    anyhow::ensure!(certificate.is_ca(), "its certificate is not an authority's");
    Ok(issuer)
}

/// Makes a key and signs a certificate for it.
pub fn sign(identity: &Identity, issuer: &Issuer<'static, KeyPair>) -> Result<Pair> {
    let key = KeyPair::generate()?;
    let mut params = params(identity.names.clone(), identity.name, identity.group, LEAF)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if !identity.names.is_empty() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if identity.client {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    params.use_authority_key_identifier_extension = true;
    Ok(Pair { certificate: params.signed_by(&key, issuer)?.pem(), key: key.serialize_pem() })
}

/// A pair of keys without a certificate, PEM: private and public.
pub fn keys() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn params(names: Vec<String>, user: &str, group: Option<&str>, lasts: Duration) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("a name of the API server is none")?;
    let mut subject = DistinguishedName::new();
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject.push(DnType::CommonName, user);
    params.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - BEFORE, now + lasts);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::super::identity::identities;
    use super::super::read::{due, hash};
    use super::*;
    use crate::settings::Settings;
    use keelson_common::master::MasterConfig;

    const DAY: i64 = 24 * 3600;

    fn settings(address: &str) -> Settings {
        Settings::new(&MasterConfig::default(), address.parse().unwrap()).unwrap()
    }

    #[test]
    fn what_is_signed_will_do_until_its_time_or_a_name_changes() {
        let authority = Signer::Cluster.create().unwrap();
        let signer = issuer(&authority).unwrap();
        let now = OffsetDateTime::now_utc().unix_timestamp();
        for identity in identities(&settings("10.77.0.2")) {
            let pair = sign(&identity, &signer).unwrap();
            let due = |now| due(&pair.certificate, &identity, &authority.certificate, now);
            assert_eq!(due(now), None, "{}", identity.file);
            assert!(due(now + 300 * DAY).unwrap().contains("nearly over"));
            assert!(due(now - DAY).unwrap().contains("not valid yet"));
        }
        let [here, there] = ["10.77.0.2", "10.77.0.3"].map(|address| identities(&settings(address)).remove(0));
        let pair = sign(&here, &signer).unwrap();
        assert!(due(&pair.certificate, &there, &authority.certificate, now).unwrap().contains("other names"));
        let other = Signer::Cluster.create().unwrap();
        assert!(due(&pair.certificate, &here, &other.certificate, now).unwrap().contains("another authority"));
        assert!(due("", &here, &other.certificate, now).unwrap().contains("cannot be read"));
        assert_ne!(hash(&authority.certificate).unwrap(), hash(&other.certificate).unwrap());
    }

    #[test]
    fn an_authority_is_checked() {
        let (one, two) = (Signer::Cluster.create().unwrap(), Signer::Etcd.create().unwrap());
        let mixed = Pair { certificate: one.certificate.clone(), key: two.key };
        assert!(issuer(&mixed).err().unwrap().to_string().contains("belong together"));
        let leaf = sign(&identities(&settings("10.77.0.2"))[1], &issuer(&one).unwrap()).unwrap();
        assert!(issuer(&leaf).is_err());
    }
}
