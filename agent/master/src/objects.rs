//! Owns the objects that nodes join by: who the cluster is, and the token that lets them in.

use keelson_common::kubeconfig::{Credentials, kubeconfig};
use keelson_common::secret::Token;
use serde_json::{Value, json};

/// A list of them for `kubectl apply`. The token is good for as long as user-data brings it.
pub fn joining(server: &str, ca: &str, token: Option<&Token>) -> Value {
    let info = kubeconfig("keelson", server, ca, Credentials::Anonymous);
    let mut items = vec![json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "cluster-info", "namespace": "kube-public" },
        "data": { "kubeconfig": info.to_string() },
    })];
    if let Some(token) = token {
        items.push(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "bootstrap.kubernetes.io/token",
            "metadata": { "name": format!("bootstrap-token-{}", token.id()), "namespace": "kube-system" },
            "stringData": {
                "description": "From the user-data of the master",
                "token-id": token.id(),
                "token-secret": token.secret(),
                "usage-bootstrap-authentication": "true",
                "usage-bootstrap-signing": "true",
            },
        }));
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_nobody_joins() {
        let token: Token = "abcdef.0123456789abcdef".parse().unwrap();
        let with = joining("https://m:6443", "CA", Some(&token));
        assert_eq!(with["items"][1]["metadata"]["name"], "bootstrap-token-abcdef");
        assert_eq!(with["items"][1]["stringData"]["token-secret"], "0123456789abcdef");
        let without = joining("https://m:6443", "CA", None);
        assert_eq!(without["items"].as_array().unwrap().len(), 1);
    }
}
