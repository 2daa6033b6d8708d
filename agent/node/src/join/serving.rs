//! Owns the certificate that the kubelet API shows: the node's own at once, the cluster's when one was
//! approved.

use std::net::IpAddr;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use super::JoinError;
use super::pair::Pair;

/// The names in a node's serving certificate.
pub fn names(name: &str, addresses: &[IpAddr]) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(addresses.iter().map(ToString::to_string)).collect()
}

/// Whether a certificate has all the names that a node has now.
pub fn fits(pair: &Pair, name: &str, addresses: &[IpAddr]) -> bool {
    names(name, addresses).iter().all(|name| pair.names.contains(name))
}

/// A certificate that nobody but the node signed; it holds for longer than the process runs.
pub fn self_signed(name: &str, addresses: &[IpAddr]) -> Result<Pair, JoinError> {
    let what = "the node's own certificate";
    let wrong = |error: rcgen::Error| JoinError::Certificate { what: what.to_owned(), why: error.to_string() };
    let key = KeyPair::generate().map_err(wrong)?;
    let mut params = CertificateParams::new(names(name, addresses)).map_err(wrong)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).map_err(wrong)?;
    Pair::read(format!("{}{}", certificate.pem(), key.serialize_pem()), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_moved_needs_another_certificate() {
        let here = [IpAddr::from([10, 0, 0, 1])];
        let pair = self_signed("one", &here).unwrap();
        assert!(fits(&pair, "one", &here) && fits(&pair, "one", &[]));
        assert!(!fits(&pair, "one", &[IpAddr::from([10, 0, 0, 2])]) && !fits(&pair, "two", &here));
    }
}
