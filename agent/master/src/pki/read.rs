//! Owns reading certificates that are there, and deciding whether they will do.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result};
use keelson_common::pki::certificate_hash;
use keelson_common::secret::CaHash;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;

use super::identity::Identity;

/// The first block of a text.
pub fn pem(text: &str) -> Result<Pem> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).context("it is no PEM")?;
    Ok(pem)
}

/// The hash of an authority's key, as nodes are given it.
pub fn hash(certificate: &str) -> Result<CaHash> {
    certificate_hash(certificate).context("it is no certificate")
}

/// Why a certificate has to be made anew; nothing when it will do. `now`: seconds since 1970.
pub fn due(certificate: &str, wanted: &Identity, authority: &str, now: i64) -> Option<String> {
    match reason(certificate, wanted, authority, now) {
        Ok(reason) => reason.map(str::to_owned),
        Err(error) => Some(format!("it cannot be read: {error:#}")),
    }
}

fn reason(certificate: &str, wanted: &Identity, authority: &str, now: i64) -> Result<Option<&'static str>> {
    let (pem, authority) = (pem(certificate)?, pem(authority)?);
    let certificate = pem.parse_x509().context("it is no certificate")?;
    let authority = authority.parse_x509().context("the authority's is no certificate")?;
    if certificate.verify_signature(Some(authority.public_key())).is_err() {
        return Ok(Some("it was signed by another authority"));
    }
    let (begin, end) = (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    // With a third of its time left there is time for a person to see that it does not work.
    if now >= begin + (end - begin) / 3 * 2 {
        return Ok(Some("its time is nearly over"));
    }
    if now < begin {
        return Ok(Some("it is not valid yet"));
    }
    let wanted: BTreeSet<String> = wanted.names.iter().map(|name| normal(name)).collect();
    Ok((names(&certificate) != wanted).then_some("the server has other names now"))
}

fn names(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|extension| &extension.value.general_names);
    names.into_iter().flatten().filter_map(general).collect()
}

/// A DNS name or an address; nothing for names of other kinds.
pub fn general(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| address(bytes.into())),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| address(bytes.into())),
            _ => None,
        },
        _ => None,
    }
}

fn normal(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_owned(), address)
}

/// An IPv4 address within an IPv6 one is the IPv4 address: whoever signs or checks a certificate takes it for that.
fn address(address: IpAddr) -> String {
    address.to_canonical().to_string()
}
