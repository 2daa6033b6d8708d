//! Owns kubeconfigs: where the API server is, how it is known, and as whom it is spoken to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// As whom the API server is spoken to.
#[derive(Debug, Clone, Copy)]
pub enum Credentials<'a> {
    /// As nobody.
    Anonymous,
    /// By a client's certificate and its key, PEM.
    Certificate {
        /// The certificate.
        certificate: &'a str,
        /// The key.
        key: &'a str,
    },
}

/// A kubeconfig in JSON, which is YAML as well; `ca` is the authority's certificate, PEM.
pub fn kubeconfig(server: &str, ca: &str, credentials: Credentials<'_>) -> Value {
    let user = match credentials {
        Credentials::Anonymous => json!({}),
        Credentials::Certificate { certificate, key } => json!({
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key),
        }),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "keelson",
            "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(ca) },
        }],
        "users": [{ "name": "keelson", "user": user }],
        "contexts": [{ "name": "keelson", "context": { "cluster": "keelson", "user": "keelson" } }],
        "current-context": "keelson",
    })
}
