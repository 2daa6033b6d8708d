//! Owns [`Pair`]: a key with its certificate, as it is kept and as rustls takes it.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use super::{JoinError, pki};

/// From when until when a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub not_before: Timestamp,
    /// Its end.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether its end is past.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.not_after
    }

    /// When to renew it: after 70 to 90 % of its time, by `spread` from 0 to 1, so that nodes which
    /// joined together do not all ask at once.
    pub fn renewal(&self, spread: f64) -> Timestamp {
        let whole = self.not_after.duration_since(self.not_before).as_secs_f64();
        let after = SignedDuration::try_from_secs_f64(whole * (0.7 + 0.2 * spread.clamp(0.0, 1.0)));
        after.ok().and_then(|after| self.not_before.checked_add(after).ok()).unwrap_or(self.not_after)
    }
}

/// A key with its certificate.
#[derive(Clone)]
pub struct Pair {
    /// Both, PEM: the certificate with what it is signed by, then the key.
    pub pem: String,
    /// For rustls.
    pub certified: Arc<CertifiedKey>,
    /// How long the certificate holds.
    pub validity: Validity,
    /// The common name in the certificate.
    pub common_name: String,
    /// Names and addresses in the certificate.
    pub names: Vec<String>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("common_name", &self.common_name).field("validity", &self.validity).finish()
    }
}

impl Pair {
    /// Reads certificate and key out of a PEM that has both. `what` names it in errors.
    pub fn read(pem: String, what: &str) -> Result<Self, JoinError> {
        let wrong = |why: String| JoinError::Certificate { what: what.to_owned(), why };
        let chain = pki::certificates(&pem, what)?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| wrong(error.to_string()))?;
        let certificate = pki::parsed(&chain[0], what)?;
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| wrong(error.to_string()))
        };
        let validity = Validity {
            not_before: time(certificate.validity().not_before)?,
            not_after: time(certificate.validity().not_after)?,
        };
        let common_name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
        let common_name = common_name.unwrap_or_default().to_owned();
        let names = names(&certificate);
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|_| wrong("key and certificate do not belong together".to_owned()))?;
        Ok(Self { pem, certified: Arc::new(certified), validity, common_name, names })
    }

    /// When to renew it. Each certificate has its own moment, which a restart does not change.
    pub fn renewal(&self) -> Timestamp {
        let digest = Sha256::digest(self.pem.as_bytes());
        self.validity.renewal(f64::from(digest[0]) / 255.0)
    }
}

fn names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
        },
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn renewal_is_long_before_the_end() {
        let validity = Validity { not_before: at("2026-01-01T00:00:00Z"), not_after: at("2026-01-11T00:00:00Z") };
        assert_eq!(validity.renewal(0.0), at("2026-01-08T00:00:00Z"));
        assert_eq!(validity.renewal(0.5), at("2026-01-09T00:00:00Z"));
        assert_eq!(validity.renewal(1.0), at("2026-01-10T00:00:00Z"));
        assert_eq!(validity.renewal(7.0), at("2026-01-10T00:00:00Z"));
        assert!(!validity.is_over(at("2026-01-10T23:59:59Z")) && validity.is_over(validity.not_after));
    }

    #[test]
    fn a_pair_knows_its_names_and_keeps_its_moment() {
        let made = rcgen::generate_simple_self_signed(vec!["one".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
        let pair = Pair::read(pem.clone(), "it").unwrap();
        assert_eq!(pair.names, ["one", "10.0.0.1"]);
        assert_eq!(pair.renewal(), Pair::read(pem, "it").unwrap().renewal());
        assert!(pair.renewal() > pair.validity.not_before && pair.renewal() < pair.validity.not_after);
    }

    #[test]
    fn another_key_is_refused() {
        let made = || rcgen::generate_simple_self_signed(vec!["one".to_owned()]).unwrap();
        let pem = format!("{}{}", made().cert.pem(), made().signing_key.serialize_pem());
        let error = Pair::read(pem, "the certificate").unwrap_err();
        assert_eq!(error.to_string(), "the certificate is of no use: key and certificate do not belong together");
    }
}
