//! Owns the kubeconfig of a cluster's administrator.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::authority::Pair;

/// The document for the API server at `server`.
pub fn kubeconfig(cluster: &str, server: &str, authority: &str, administrator: &Pair) -> String {
    let encoded = |text: &str| STANDARD.encode(text);
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: {cluster}\n  \
           cluster:\n    \
             server: {server}\n    \
             certificate-authority-data: {}\n\
         users:\n\
         - name: {cluster}-admin\n  \
           user:\n    \
             client-certificate-data: {}\n    \
             client-key-data: {}\n\
         contexts:\n\
         - name: {cluster}\n  \
           context: {{cluster: {cluster}, user: {cluster}-admin}}\n\
         current-context: {cluster}\n",
        encoded(authority),
        encoded(&administrator.certificate),
        encoded(&administrator.key),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn it_is_yaml_with_all_that_kubectl_needs() {
        let administrator = Pair { certificate: "cert".into(), key: "key".into() };
        let text = kubeconfig("one", "https://127.0.0.1:1234", "ca", &administrator);
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://127.0.0.1:1234");
        assert_eq!(config["clusters"][0]["cluster"]["certificate-authority-data"], STANDARD.encode("ca"));
        assert_eq!(config["users"][0]["user"]["client-key-data"], STANDARD.encode("key"));
        assert_eq!(config["contexts"][0]["context"]["user"], config["users"][0]["name"]);
        assert_eq!(config["current-context"], "one");
    }
}
