//! Owns asking a cluster's API server, as its administrator.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use super::folder::Folder;
use super::nodes::{Node, parse};

/// How long one answer may take: the server may be emulated, and busy with its first minute.
const LIMIT: Duration = Duration::from_secs(8);

/// An API server.
pub struct Api {
    agent: ureq::Agent,
    server: String,
}

impl Api {
    /// The server at that URL, by the certificates in the cluster's folder.
    pub fn new(folder: &Folder, server: String) -> Result<Self> {
        let (certificate, key) = folder.administrator();
        let wrong = |path: &Path| format!("{} is of no use", path.display());
        let authority =
            Certificate::from_pem(&read(&folder.authority())?).with_context(|| wrong(&folder.authority()))?;
        let chain = Certificate::from_pem(&read(&certificate)?).with_context(|| wrong(&certificate))?;
        let private = PrivateKey::from_pem(&read(&key)?).with_context(|| wrong(&key))?;
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[authority]))
            .client_cert(Some(ClientCert::new_with_certs(&[chain], private)))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .timeout_global(Some(LIMIT))
            .http_status_as_error(false)
            .build();
        Ok(Self { agent: config.into(), server })
    }

    /// The nodes; an error when the server does not answer, or not as to its administrator.
    pub fn nodes(&self) -> Result<Vec<Node>> {
        let url = format!("{}/api/v1/nodes", self.server);
        let mut response = self.agent.get(&url).call().context("the API server does not answer")?;
        let text = response.body_mut().read_to_string().context("the API server broke off")?;
        if !response.status().is_success() {
            let message =
                serde_json::from_str::<Value>(&text).ok().and_then(|it| it["message"].as_str().map(str::to_owned));
            bail!("the API server answers {}: {}", response.status(), message.unwrap_or(text));
        }
        Ok(parse(&serde_json::from_str(&text).context("the API server's answer is no JSON")?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
