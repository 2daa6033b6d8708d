//! Owns kubeconfigs: where an API server is, how it is known, and as whom it is spoken to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::pki::Pair;

/// As whom the API server is spoken to.
#[derive(Debug, Clone, Copy)]
pub enum Credentials<'a> {
    /// As nobody.
    Anonymous,
    /// By a bearer token, such as a bootstrap token.
    Token(&'a str),
    /// By a client's certificate.
    Certificate(&'a Pair),
}

/// A kubeconfig in JSON, which is YAML as well; `ca` is the authority's certificate, PEM.
pub fn kubeconfig(cluster: &str, server: &str, ca: &str, credentials: Credentials<'_>) -> Value {
    let user = match credentials {
        Credentials::Anonymous => json!({}),
        Credentials::Token(token) => json!({ "token": token }),
        Credentials::Certificate(Pair { certificate, key }) => json!({
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key),
        }),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": cluster,
            "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(ca) },
        }],
        "users": [{ "name": cluster, "user": user }],
        "contexts": [{ "name": cluster, "context": { "cluster": cluster, "user": cluster } }],
        "current-context": cluster,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_all_that_kubectl_needs() {
        let pair = Pair { certificate: "cert".into(), key: "key".into() };
        let config = kubeconfig("one", "https://127.0.0.1:1234", "ca", Credentials::Certificate(&pair));
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:1234");
        assert_eq!(config["clusters"][0]["cluster"]["certificate-authority-data"], STANDARD.encode("ca"));
        assert_eq!(config["users"][0]["user"]["client-key-data"], STANDARD.encode("key"));
        assert_eq!(config["contexts"][0]["context"]["user"], config["users"][0]["name"]);
        assert_eq!(config["current-context"], "one");
    }
}
