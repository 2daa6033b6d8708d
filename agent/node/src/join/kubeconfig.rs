//! Owns reading a kubeconfig: whose it is, and by what authority the server is known.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::JoinError;
use super::pair::Pair;

/// What a kubeconfig has.
pub struct Found {
    /// For kube's client: server, credentials.
    pub config: kube::Config,
    /// Who signs the server's certificate.
    pub authority: Vec<CertificateDer<'static>>,
    /// The client's certificate with its key, when it has one.
    pub pair: Option<Pair>,
}

/// Reads a kubeconfig.
pub async fn read(path: &Path) -> Result<Found, JoinError> {
    let wrong = |why: String| JoinError::Kubeconfig { path: path.to_owned(), why };
    // As the errors of kube repeat their causes, the outermost says all.
    let file = Kubeconfig::read_from(path).map_err(|error| wrong(error.to_string()))?;
    let options = KubeConfigOptions::default();
    let config =
        kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(error.to_string()))?;
    if config.proxy_url.is_some() {
        return Err(wrong("it has a proxy, which the node does not go by".to_owned()));
    }
    let Some(authority) = &config.root_cert else {
        return Err(wrong("its cluster has no certificate-authority".to_owned()));
    };
    let authority = authority.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let pair = pair(&config.auth_info).map_err(wrong)?;
    let pair = pair.map(|pem| Pair::read(pem, &format!("the certificate in {}", path.display()))).transpose()?;
    Ok(Found { config, authority, pair })
}

/// Certificate and key of the user, PEM.
fn pair(user: &kube::config::AuthInfo) -> Result<Option<String>, String> {
    // The key is a secret that only its serialization shows.
    let user = serde_json::to_value(user).map_err(|error| error.to_string())?;
    let certificate = part(&user, "client-certificate")?;
    let key = part(&user, "client-key")?;
    Ok(certificate.zip(key).map(|(certificate, key)| format!("{certificate}\n{key}")))
}

/// A value that is written out in `KEY-data`, or in the file that `KEY` names.
fn part(user: &Value, key: &str) -> Result<Option<String>, String> {
    if let Some(data) = user[format!("{key}-data")].as_str() {
        let pem = STANDARD.decode(data).ok().and_then(|pem| String::from_utf8(pem).ok());
        return pem.map(Some).ok_or_else(|| format!("its {key}-data is no PEM in Base64"));
    }
    let Some(path) = user[key].as_str() else { return Ok(None) };
    std::fs::read_to_string(path).map(Some).map_err(|error| format!("cannot read {path}: {error}"))
}
