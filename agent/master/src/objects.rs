//! Owns the objects that nodes join by: who the cluster is, and the token that lets them in.

use k8s_openapi::api::core::v1::Secret;
use keelson_common::kubeconfig::{Credentials, kubeconfig};
use keelson_common::secret::Token;
use serde_json::{Value, json};

/// What kind of Secret a token is.
pub const TOKEN_TYPE: &str = "bootstrap.kubernetes.io/token";
/// What ours say of themselves.
const OURS: &str = "From the user-data of the master";

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
            "type": TOKEN_TYPE,
            "metadata": { "name": secret_name(token), "namespace": "kube-system" },
            "stringData": {
                "description": OURS,
                "token-id": token.id(),
                "token-secret": token.secret(),
                "usage-bootstrap-authentication": "true",
                "usage-bootstrap-signing": "true",
            },
        }));
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

fn secret_name(token: &Token) -> String {
    format!("bootstrap-token-{}", token.id())
}

/// The tokens of an earlier user-data, by the names of their Secrets. Those that a person made stay.
pub fn revoked<'a>(secrets: &'a [Secret], token: Option<&Token>) -> Vec<&'a str> {
    let current = token.map(secret_name);
    let ours = secrets.iter().filter(|secret| {
        let description = secret.data.as_ref().and_then(|data| data.get("description"));
        description.is_some_and(|description| description.0 == OURS.as_bytes())
    });
    ours.filter_map(|secret| secret.metadata.name.as_deref()).filter(|name| current.as_deref() != Some(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_user_data_brings_no_more_is_revoked() {
        let secret = |name: &str, description: &str| {
            let data = json!({ "description": k8s_openapi::ByteString(description.into()) });
            serde_json::from_value(json!({ "metadata": { "name": name }, "data": data })).unwrap()
        };
        let secrets: [Secret; 3] = [
            secret("bootstrap-token-abcdef", OURS),
            secret("bootstrap-token-fedcba", OURS),
            secret("bootstrap-token-person", "kubeadm's"),
        ];
        let token: Token = "abcdef.0123456789abcdef".parse().unwrap();
        assert_eq!(revoked(&secrets, Some(&token)), ["bootstrap-token-fedcba"]);
        assert_eq!(revoked(&secrets, None), ["bootstrap-token-abcdef", "bootstrap-token-fedcba"]);
    }

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
