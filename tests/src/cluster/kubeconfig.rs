//! Owns kubeconfig files: where a server is, how it is known, and as whom it is spoken to.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

/// A kubeconfig in JSON, which is YAML as well; `ca` is the authority's certificate, PEM.
pub fn kubeconfig(server: &str, ca: &str, credentials: &Credentials) -> Value {
    let user = match credentials {
        Credentials::Anonymous => json!({}),
        Credentials::Token(token) => json!({ "token": token }),
        Credentials::Certificate(Identity { key, certificate }) => {
            json!({ "client-certificate": certificate, "client-key": key })
        }
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(ca) } }],
        "users": [{ "name": "user", "user": user }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "user" } }],
        "current-context": "test",
    })
}

/// Writes a kubeconfig to `path`.
pub fn write(path: &Path, config: &Value) -> Result<()> {
    fs::write(path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))
}
