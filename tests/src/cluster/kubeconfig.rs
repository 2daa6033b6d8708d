//! Owns the kubeconfig files of a control plane: as whom each speaks to it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use keelson_common::kubeconfig as document;
use serde_json::{Value, json};

use super::Identity;

/// As whom the API server is spoken to.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// As nobody.
    Anonymous,
    /// By a bearer token, such as a bootstrap token.
    Token(String),
    /// By a client certificate.
    Certificate(Identity),
}

/// A kubeconfig in JSON, which is YAML as well; `ca` is the authority's certificate, PEM. A certificate is
/// named by its files, which may change under who reads them.
pub fn kubeconfig(server: &str, ca: &str, credentials: &Credentials) -> Value {
    let of = |credentials| document::kubeconfig("test", server, ca, credentials);
    match credentials {
        Credentials::Anonymous => of(document::Credentials::Anonymous),
        Credentials::Token(token) => of(document::Credentials::Token(token)),
        Credentials::Certificate(Identity { key, certificate }) => {
            let mut config = of(document::Credentials::Anonymous);
            config["users"][0]["user"] = json!({ "client-certificate": certificate, "client-key": key });
            config
        }
    }
}

/// Writes a kubeconfig to `path`.
pub fn write(path: &Path, config: &Value) -> Result<()> {
    fs::write(path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))
}
