//! Owns what a host is told of registries: where their images come from, and who it is there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name that stands for every registry that has none of its own.
pub const EVERY: &str = "_default";

/// A registry of images: how it is reached, and who the host is there.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Registry {
    /// Mirrors of it, http:// or https:// URLs, asked before it in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// The authority of its certificate and of its mirrors', PEM, besides those that the host trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// It speaks HTTP without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plain_http: Option<bool>,
    /// Who the host is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password, or a token that is taken for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("mirrors", &self.mirrors)
            .field("plain_http", &self.plain_http)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What is wrong with one: the key, and a sentence.
pub(super) fn check(name: &str, registry: &Registry, found: &mut Vec<(&'static str, String)>) {
    let mut wrong = |key: &'static str, problem: String| found.push((key, format!("registries.{name}{problem}")));
    if name != EVERY && !is_host(name) {
        wrong("registries", format!(" is no registry; write HOST or HOST:PORT without a scheme, or {EVERY} for all"));
    }
    for mirror in registry.mirrors.iter().filter(|mirror| !is_url(mirror)) {
        let problem = match mirror.contains('@') {
            // There may be a password in it.
            true => ".mirrors: there is no user in a URL; `username` and `password` say who the host is".to_owned(),
            false => format!(".mirrors: `{mirror}` is no http:// or https:// URL whose path, if any, is below /v2"),
        };
        wrong("mirrors", problem);
    }
    if registry.ca.as_ref().is_some_and(|ca| !ca.contains("BEGIN CERTIFICATE")) {
        wrong("ca", ".ca: it is no certificate in PEM".to_owned());
    }
    if registry.username.is_some() != registry.password.is_some() {
        wrong("username", ": give both of `username` and `password`, or neither".to_owned());
    }
    if registry.username.as_ref().is_some_and(|name| name.contains(':')) {
        wrong("username", ".username: there is no `:` in a name".to_owned());
    }
    if name == EVERY && (registry.username.is_some() || registry.plain_http.is_some()) {
        wrong("registries", ": only `mirrors` and `ca` can be said of every registry".to_owned());
    }
}

/// HOST or HOST:PORT, as it stands in an image's name.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match literal {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.starts_with(|c: char| c.is_ascii_alphanumeric()) && host.chars().all(name),
    };
    host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let good = |rest: &str| {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        is_host(host)
            && (path.is_empty() || path == "v2" || path.starts_with("v2/"))
            && !text.contains(['"', ' ', '\\'])
    };
    rest.is_some_and(good)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn problems(value: &Value) -> Vec<String> {
        super::super::from_value(&json!({ "registries": value })).err().unwrap_or_default()
    }

    #[test]
    fn a_whole_registry_is_good() {
        let whole = json!({
            "registry.example:5000": {
                "mirrors": ["https://mirror.example/v2/proxy", "http://10.0.0.1:5000"],
                "ca": "-----BEGIN CERTIFICATE-----", "plain-http": false, "username": "host", "password": "S3CRET",
            },
            "docker.io": {}, "[fd00::1]:5000": { "plain-http": true },
            "_default": { "mirrors": ["https://mirror.example"] },
        });
        assert_eq!(problems(&whole), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_told_and_no_secret() {
        let one = |value: Value, told: &str| {
            let problems = problems(&value);
            assert!(problems.len() == 1 && problems[0].contains(told), "{problems:?} for {told}");
            assert!(!problems[0].contains("S3CRET"));
        };
        one(json!({ "https://r.example": {} }), "without a scheme");
        one(json!({ "../etc": {} }), "is no registry");
        one(json!({ "r.example:0": {} }), "is no registry");
        one(
            json!({ "r.example": { "mirrors": ["mirror.example"] } }),
            "registries.r.example.mirrors: `mirror.example`",
        );
        one(json!({ "r.example": { "mirrors": ["https://mirror.example/proxy"] } }), "below /v2");
        one(json!({ "r.example": { "mirrors": ["https://user:S3CRET@mirror.example"] } }), "no user in a URL");
        one(json!({ "r.example": { "ca": "S3CRET" } }), "no certificate");
        one(json!({ "r.example": { "password": "S3CRET" } }), "both of `username` and `password`");
        one(json!({ "r.example": { "username": "a:b", "password": "S3CRET" } }), "no `:` in a name");
        one(json!({ "r.example": { "mirror": [] } }), "did you mean `mirrors`?");
        one(json!({ "_default": { "plain-http": true } }), "only `mirrors` and `ca`");
    }
}
