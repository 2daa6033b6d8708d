//! Owns which node of the cluster is this very host: what its own certificate calls it, and nothing that a node says
//! of itself.

use anyhow::{Context, Result};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::options::Options;
use crate::paths::Paths;
use crate::pki::authority::Signer;
use crate::pki::read;
use crate::setup::{authority, text};

/// Where the node of this host keeps its certificate, below the root of the host.
const CERTIFICATE: &str = "var/lib/keelson/node/pki/client-current.pem";
const PREFIX: &str = "system:node:";

/// The name of this host's own node, where it is one of this cluster.
pub fn name(options: &Options) -> Result<Option<String>> {
    let Some(own) = text(&options.host.join(CERTIFICATE))? else { return Ok(None) };
    let authority = authority(&Paths::new(&options.root).pki(), Signer::Cluster)?.certificate;
    let authority = read::pem(&authority).context("the authority")?;
    let authority = authority.parse_x509().context("the authority's is no certificate")?;
    Ok(named(&own, &authority))
}

/// The node that a certificate of that authority is for.
fn named(own: &str, authority: &X509Certificate<'_>) -> Option<String> {
    let blocks = Pem::iter_from_buffer(own.as_bytes()).filter_map(Result::ok);
    let block = blocks.into_iter().find(|block| block.label == "CERTIFICATE")?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    certificate.verify_signature(Some(authority.public_key())).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    name.strip_prefix(PREFIX).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use keelson_common::pki::{Authority, Subject, YEAR};

    use super::*;
    use crate::options::What;

    #[test]
    fn only_a_certificate_of_this_cluster_names_the_node() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let options = Options::below(folder.path(), What::Run);
        fs::create_dir_all(path("master/pki")).unwrap();
        fs::create_dir_all(path("host/var/lib/keelson/node/pki")).unwrap();
        let (ours, pair) = Authority::create("kubernetes", YEAR).unwrap();
        let (theirs, _) = Authority::create("kubernetes", YEAR).unwrap();
        fs::write(path("master/pki/ca.crt"), &pair.certificate).unwrap();
        fs::write(path("master/pki/ca.key"), &pair.key).unwrap();
        assert_eq!(name(&options).unwrap(), None);
        let subject =
            Subject { user: "system:node:m", group: Some("system:nodes"), client: true, ..Subject::default() };
        for (authority, expected) in [(&ours, Some("m")), (&theirs, None)] {
            let own = authority.sign(subject, YEAR).unwrap();
            for text in [format!("{}{}", own.certificate, own.key), format!("{}{}", own.key, own.certificate)] {
                fs::write(path("host").join(CERTIFICATE), text).unwrap();
                assert_eq!(name(&options).unwrap().as_deref(), expected);
            }
        }
    }
}
