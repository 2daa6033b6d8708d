//! Owns what a request for a certificate says: who asks, for whom, for which names.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use crate::pki::read::general;

/// What a request in PEM begins and ends with.
const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
const END: &str = "-----END CERTIFICATE REQUEST-----";

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who the API server says asks.
    pub user: String,
    /// Their groups.
    pub groups: Vec<String>,
    /// What the key is to be used for.
    pub usages: Vec<String>,
    /// What is asked for; why it cannot be read.
    pub subject: Result<Subject, String>,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name.
    pub name: String,
    /// The organizations.
    pub groups: Vec<String>,
    /// DNS names and addresses.
    pub names: Vec<String>,
    /// Whether there are names of other kinds: of mail, of URIs.
    pub others: bool,
}

impl Request {
    /// Reads one.
    pub fn read(csr: &CertificateSigningRequest) -> Self {
        let spec = &csr.spec;
        Self {
            user: spec.username.clone().unwrap_or_default(),
            groups: spec.groups.clone().unwrap_or_default(),
            usages: spec.usages.clone().unwrap_or_default(),
            subject: subject(&spec.request.0).ok_or_else(|| "it cannot be read".to_owned()),
        }
    }
}

/// Whether a text is one block and nothing else. Whoever signs reads it with another reader, which must find the
/// same block as this one.
fn is_one_block(text: &str) -> bool {
    let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    body.is_some_and(|body| {
        body.starts_with(['\r', '\n'])
            && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(&byte))
    })
}

fn subject(pem: &[u8]) -> Option<Subject> {
    std::str::from_utf8(pem).ok().filter(|text| is_one_block(text))?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
    let dn = &request.certification_request_info.subject;
    let mut subject = Subject {
        name: dn.iter_common_name().next()?.as_str().ok()?.to_owned(),
        groups: dn.iter_organization().filter_map(|name| name.as_str().ok().map(str::to_owned)).collect(),
        ..Subject::default()
    };
    for extension in request.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension {
            for name in &names.general_names {
                match general(name) {
                    Some(name) => subject.names.push(name),
                    None => subject.others = true,
                }
            }
        }
    }
    Some(subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelson_common::pki;

    #[test]
    fn requests_are_read() {
        let names = ["one", "10.0.0.1", "::ffff:10.0.0.7", "fd00::1"].map(str::to_owned);
        let asked = pki::Subject { user: "system:node:one", group: Some("system:nodes"), names: &names, client: false };
        let (_, pem) = pki::request(asked).unwrap();
        let read = subject(pem.as_bytes()).unwrap();
        assert_eq!(read.name, "system:node:one");
        assert_eq!(read.groups, ["system:nodes"]);
        // As it is signed.
        assert_eq!(read.names, ["one", "10.0.0.1", "10.0.0.7", "fd00::1"]);
        assert_eq!(subject(b"nothing"), None);
        // One reader takes the first block, another the first that ends as it begins.
        let harmless = pem.replace("END CERTIFICATE REQUEST", "END X");
        for crafted in [
            format!("{harmless}{pem}"),
            format!("{pem}{pem}"),
            format!("x\n{pem}"),
            pem.replace("CERTIFICATE REQUEST", "X"),
            pem.replacen(END, &format!("{END} "), 1) + "x",
            pem.replacen('\n', "\nProc-Type: x\n\n", 1),
        ] {
            assert_eq!(subject(crafted.as_bytes()), None, "{crafted}");
        }
    }
}
