//! Owns the text of node.toml that `keelctl join` and `keelctl provision` write. What is wrong in it is found by `keeld-node`.

use std::fmt::Write;

/// The first line of what `keelctl join` writes.
pub const HEADER: &str = "# Written by `keelctl join`; keelson-node(5) tells of every key.\n";

/// What the file says; empty parts are left out.
#[derive(Debug, Default, Clone)]
pub struct Config {
    /// The API server.
    pub server: Option<String>,
    /// The hashes of its authority's key.
    pub ca_hashes: Vec<String>,
    /// The authority's certificate: a path.
    pub ca: Option<String>,
    /// A kubeconfig: a path.
    pub kubeconfig: Option<String>,
    /// The node's name.
    pub name: Option<String>,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Its taints.
    pub taints: Vec<String>,
    /// A file with the bootstrap token.
    pub token_file: Option<String>,
    /// The bootstrap token, which is not kept once the node has joined.
    pub token: Option<String>,
}

impl Config {
    /// The text below a comment that says whose it is; `token` replaces the token, so that it can be shown or
    /// left out, as it is where it is kept.
    pub fn text(&self, header: &str, token: Option<&str>) -> String {
        let mut text = header.to_owned();
        let mut word = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{key} = {}", quoted(value));
            }
        };
        word("server", self.server.as_deref());
        word("token", token);
        word("token-file", self.token_file.as_deref());
        word("ca", self.ca.as_deref());
        word("kubeconfig", self.kubeconfig.as_deref());
        word("name", self.name.as_deref());
        let mut list = |key: &str, values: &[String]| {
            if !values.is_empty() {
                let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                let _ = writeln!(text, "{key} = [{}]", values.join(", "));
            }
        };
        list("ca-hash", &self.ca_hashes);
        list("addresses", &self.addresses);
        list("taints", &self.taints);
        if !self.labels.is_empty() {
            text.push_str("\n[labels]\n");
        }
        for (key, value) in &self.labels {
            let _ = writeln!(text, "{} = {}", quoted(key), quoted(value));
        }
        text
    }
}

/// A basic string of TOML; JSON escapes the same way.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_written_and_the_token_not_kept() {
        let config = Config {
            server: Some("https://master:6443".into()),
            ca_hashes: vec!["sha256:ab".into()],
            addresses: vec!["10.0.0.1".into()],
            taints: vec!["gpu=\"x\":NoSchedule".into()],
            labels: vec![("example.com/rack".into(), "a".into())],
            token: Some("keel01.secret".into()),
            ..Config::default()
        };
        let text = config.text(HEADER, config.token.as_deref());
        assert!(text.contains("token = \"keel01.secret\"\n"));
        let kept = config.text(HEADER, None);
        assert!(!kept.contains("token"));
        assert!(kept.ends_with(
            "server = \"https://master:6443\"\nca-hash = [\"sha256:ab\"]\naddresses = [\"10.0.0.1\"]\n\
             taints = [\"gpu=\\\"x\\\":NoSchedule\"]\n\n[labels]\n\"example.com/rack\" = \"a\"\n"
        ));
    }
}
