//! Owns which authorities there are: the cluster's, the one of requests that the API server passes on,
//! and etcd's, so that a certificate is good for one of them only.

use std::time::Duration;

use anyhow::{Context, Result};
use keelson_common::pki::{Authority, Pair, Subject, YEAR};

use super::identity::Identity;

/// How long an authority lasts; a cluster's nodes would have to be told of another.
const LASTS: Duration = YEAR.saturating_mul(10);

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
        Ok(Authority::create(self.name(), LASTS)?.1)
    }
}

/// Checks that a key and a certificate are an authority's.
pub fn issuer(pair: &Pair) -> Result<Authority> {
    Authority::check(pair).map_err(anyhow::Error::msg)
}

/// Makes a key and signs a certificate for it.
pub fn sign(identity: &Identity, issuer: &Authority) -> Result<Pair> {
    let Identity { name: user, group, names, client, .. } = identity;
    let subject = Subject { user, group: *group, names, client: *client };
    issuer.sign(subject, YEAR).with_context(|| format!("the certificate {}", identity.file))
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
        let now = jiff::Timestamp::now().as_second();
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
