//! Owns reading certificates: from PEM, the hash of their key, and the hashes of an authority's keys.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::JoinError;
use crate::config::CaHash;

/// The certificates in a PEM.
pub fn certificates(pem: &str, what: &str) -> Result<Vec<CertificateDer<'static>>, JoinError> {
    let wrong = |why: String| JoinError::Certificate { what: what.to_owned(), why };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all.map_err(|error| wrong(error.to_string()))? {
        none if none.is_empty() => Err(wrong("there is no certificate in it".to_owned())),
        all => Ok(all),
    }
}

/// Parses a certificate.
pub fn parsed<'a>(der: &'a CertificateDer<'_>, what: &str) -> Result<X509Certificate<'a>, JoinError> {
    let wrong = |why: String| JoinError::Certificate { what: what.to_owned(), why };
    X509Certificate::from_der(der.as_ref()).map(|(_, it)| it).map_err(|error| wrong(error.to_string()))
}

/// The hash of a certificate's public key, as kubeadm pins it.
pub fn key_hash(der: &CertificateDer<'_>) -> Result<CaHash, JoinError> {
    let certificate = parsed(der, "the certificate of the cluster's authority")?;
    Ok(CaHash::new(Sha256::digest(certificate.public_key().raw).into()))
}

/// That one of the authority's keys has one of the hashes; gives that hash. Without any given there is
/// nothing to check, and the first is given.
pub fn pinned(authority: &[CertificateDer<'_>], pins: &[CaHash]) -> Result<CaHash, JoinError> {
    let found = authority.iter().map(key_hash).collect::<Result<Vec<_>, _>>()?;
    let matching = found.iter().find(|hash| pins.is_empty() || pins.contains(hash));
    matching.cloned().ok_or_else(|| JoinError::Hash {
        found: found.iter().map(ToString::to_string).collect(),
        given: pins.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn the_hash_is_of_the_key_and_not_of_the_certificate() {
        let key = KeyPair::generate().unwrap();
        let certificate =
            |name: &str| CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let (one, two) = (certificate("one"), certificate("two"));
        let hash = key_hash(one.der()).unwrap();
        assert_eq!(hash, key_hash(two.der()).unwrap());
        // As `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum` computes it.
        let public =
            rustls::pki_types::SubjectPublicKeyInfoDer::from_pem_slice(key.public_key_pem().as_bytes()).unwrap();
        assert_eq!(hash, CaHash::new(Sha256::digest(public.as_ref()).into()));
    }

    #[test]
    fn one_of_the_pins_must_match() {
        let der = || rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.der().clone();
        let (one, two) = (der(), der());
        let (first, second) = (key_hash(&one).unwrap(), key_hash(&two).unwrap());
        assert_eq!(pinned(std::slice::from_ref(&one), &[second.clone(), first.clone()]).unwrap(), first);
        let error = pinned(std::slice::from_ref(&one), std::slice::from_ref(&second)).unwrap_err();
        assert_eq!(error.kind(), crate::join::Kind::Hash);
        assert!(error.to_string().contains(&first.to_string()), "{error}");
        assert!(pinned(&[one], &[]).is_ok());
    }

    #[test]
    fn text_without_a_certificate_is_told() {
        let error = certificates("nothing", "the file x").unwrap_err();
        assert_eq!(error.to_string(), "the file x is of no use: there is no certificate in it");
    }
}
