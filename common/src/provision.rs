//! Owns what a host is told to be: the key `keelson:` of a cloud-config, which is also all of
//! `/etc/keelson/host.toml`. What it says is read whole, and checked whole, before anything is done.

mod registries;
mod template;
mod update;

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::master::{Networks, network};
use crate::pki;
use crate::secret::{CaHash, Token};
use crate::strict::{Source, parse_secret};
pub use template::{Template, Variable};

pub use registries::{EVERY, Registry};
pub use update::{Day, Health, Lock, Policy, Update, Window, duration, time_of_day, time_zone};

/// The key of the top level of a cloud-config.
pub const KEY: &str = "keelson";
/// The keys below it.
pub const TOP: [&str; 8] =
    ["update", "health", "kernel-arguments", "console", "registries", "containers", "join", "master"];

/// How a Keelson host is set up: the key `keelson:` of a cloud-config, or /etc/keelson/host.toml.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct HostConfig {
    /// Where versions of the host come from, and when it goes over to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// By what the host is judged healthy after a boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Kernel arguments, from the next boot on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_arguments: Option<KernelArguments>,
    /// Where the kernel, systemd and a person who logs in speak, from the next boot on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console: Option<Console>,
    /// Registries of images, by HOST or HOST:PORT as images are named; `_default` is every other one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registries: BTreeMap<String, Registry>,
    /// Containers that the host keeps running: each is what a file of /etc/keelson/containers.d says, see
    /// keelson-containers(5).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub containers: BTreeMap<String, serde_json::Map<String, Value>>,
    /// The Kubernetes cluster that the host is a node of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// The Kubernetes cluster that the host is the master of; for hosts with the package keelson-master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<Master>,
}

/// A change of the kernel's arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct KernelArguments {
    /// KEY or KEY=VALUE, to be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub append: Vec<String>,
    /// KEY or KEY=VALUE, not to be there; what `append` has stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delete: Vec<String>,
}

/// The host's consoles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Console {
    /// Devices that the kernel speaks on, as its argument `console=` has them: tty0, ttyS0,115200n8. systemd and
    /// cloud-init speak on the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Whether one can log in there; true unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<bool>,
}

/// A Kubernetes cluster, and how the host is let in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Join {
    /// The API server, https://HOST:PORT.
    pub server: String,
    /// The bootstrap token, ID.SECRET.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9]{6}\.[a-z0-9]{16}$"))]
    pub token: Option<String>,
    /// A file on the host with the bootstrap token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// Where the bootstrap token is in what cloud-init knows of the instance, as `cloud-init query` names it:
    /// ds.meta_data.attributes.join_token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_metadata: Option<String>,
    /// Hashes of the authority's key, sha256:HEX; more than one while it is being changed.
    #[serde(default)]
    pub ca_hash: Vec<String>,
    /// The node's name, instead of the hostname. {hostname}, {instance-id}, {machine-id} and {query:PATH}, with a
    /// path as `cloud-init query` takes it, stand for what the host's is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The node's addresses, instead of the one on the way to the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Labels of the node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Taints of the node, KEY[=VALUE]:EFFECT.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<String>,
}

/// A Kubernetes cluster, and what its master begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Master {
    /// Where nodes reach the API server, instead of the address on the way to the rest of the world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Further names and addresses of the API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The token that nodes join by, ID.SECRET; nobody joins without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9]{6}\.[a-z0-9]{16}$"))]
    pub token: Option<String>,
    /// A file on the host with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// Addresses of pods, of which each node gets a part; 10.244.0.0/16 when it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_network: Option<String>,
    /// Addresses of Services; 10.96.0.0/12 when it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_network: Option<String>,
    /// Whether the master answers the cluster's DNS; it does when it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<bool>,
    /// Networks that may ask that DNS, besides private ones, the pods and the nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_clients: Vec<String>,
    /// Whether the master is a node of its cluster too; it is when it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<bool>,
    /// The authority of the cluster; one is made at the first boot when it is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Authority>,
}

/// A certificate authority.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Authority {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, PEM (PKCS #8).
    pub key: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The JSON schema of [`HostConfig`], draft 7 as cloud-init's own.
pub fn schema() -> Value {
    let generator = schemars::generate::SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<HostConfig>().to_value();
    as_draft_4(&mut schema);
    schema
}

/// cloud-init reads its schema by draft 4, which knows no `const`, and takes anything where it stands.
fn as_draft_4(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(only) = map.remove("const") {
                map.insert("enum".to_owned(), Value::Array(vec![only]));
            }
            map.values_mut().for_each(as_draft_4);
        }
        Value::Array(list) => list.iter_mut().for_each(as_draft_4),
        _ => {}
    }
}

/// Reads the value of the key in a cloud-config; gives all that is wrong.
pub fn from_value(value: &Value) -> Result<HostConfig, Vec<String>> {
    // By the reader that knows to name the nearest key.
    let text = match toml::to_string(&without_nulls(value)) {
        Ok(text) if value.is_object() => text,
        _ => return Err(vec![format!("`{KEY}` must be a mapping with the keys {}", TOP.join(", "))]),
    };
    let source = Source { path: KEY.into(), text };
    from_toml(&source).map_err(|problems| problems.into_iter().map(|problem| problem.message).collect())
}

/// Reads a file with nothing else in it.
pub fn from_toml(source: &Source) -> Result<HostConfig, Vec<crate::strict::Problem>> {
    // What is wrong is told on the console, and most of what may stand here is a secret in some key.
    let config: HostConfig = parse_secret(source, &TOP).map_err(|problem| vec![problem])?;
    let problems = check(&config);
    if problems.is_empty() {
        return Ok(config);
    }
    // A check is of a value, wherever it was written.
    let place = |key: &str| source.text.find(key).unwrap_or_default();
    Err(problems.into_iter().map(|(key, message)| source.problem(place(key), message)).collect())
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// What is wrong beyond the shape: the key, and a sentence.
fn check(config: &HostConfig) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if let Some(update) = &config.update {
        update::check(update, &mut found);
    }
    if let Some(health) = &config.health {
        update::check_health(health, &mut found);
    }
    if let Some(join) = &config.join {
        check_join(join, &mut found);
    }
    if let Some(master) = &config.master {
        check_master(master, &mut found);
    }
    for (name, registry) in &config.registries {
        registries::check(name, registry, &mut found);
    }
    if let Some(console) = &config.console {
        check_console(console, &mut found);
    }
    for name in config.containers.keys().filter(|name| !is_file_name(name)) {
        found.push(("containers", format!("containers: `{name}` is no name; one is made of a-z, 0-9, - and _")));
    }
    let arguments = config.kernel_arguments.iter().flat_map(|kernel| kernel.append.iter().chain(&kernel.delete));
    for argument in arguments.filter(|argument| argument.is_empty() || argument.contains(char::is_whitespace)) {
        let what = format!("kernel-arguments: {argument:?} is not one argument; each has an item of its own");
        found.push(("kernel-arguments", what));
    }
    found.extend(contradictions(config).into_iter().map(|problem| ("kernel-arguments", problem)));
    found
}

/// What `kernel-arguments` and `console` both say, so that each would undo at a boot what the other did at the one
/// before.
pub fn contradictions(config: &HostConfig) -> Vec<String> {
    let (Some(arguments), Some(console)) = (&config.kernel_arguments, &config.console) else { return Vec::new() };
    let told =
        [("console", "devices", !console.devices.is_empty()), ("systemd.getty_auto", "login", console.login.is_some())];
    let key = |argument: &String| argument.split('=').next().unwrap_or_default().to_owned();
    let keys: Vec<String> = arguments.append.iter().chain(&arguments.delete).map(key).collect();
    let twice = told.iter().filter(|(argument, _, told)| *told && keys.iter().any(|key| key == argument));
    let problem = |(argument, key, _): &(&str, &str, bool)| {
        format!(
            "kernel-arguments: `{argument}=` is what `console.{key}` decides on: say it there alone, or leave \
             `{key}` out"
        )
    };
    twice.map(problem).collect()
}

fn check_join(join: &Join, found: &mut Vec<(&'static str, String)>) {
    if !join.server.starts_with("https://") {
        found.push(("server", format!("join.server: `{}` is no https:// URL of an API server", join.server)));
    }
    let tokens = [&join.token, &join.token_file, &join.token_metadata];
    if tokens.iter().filter(|token| token.is_some()).count() != 1 {
        found.push(("join", "join: give one of `token`, `token-file` and `token-metadata`".to_owned()));
    }
    if let Some(Err(problem)) = join.name.as_deref().map(Template::parse) {
        found.push(("name", format!("join.name: {problem}")));
    }
    if let Some(Err(problem)) = join.token.as_deref().map(str::parse::<Token>) {
        found.push(("token", format!("join.token: {problem}")));
    }
    if join.ca_hash.is_empty() {
        let what = "join.ca-hash is missing: without the hash of its authority's key, anybody could be the cluster";
        found.push(("join", what.to_owned()));
    }
    for problem in join.ca_hash.iter().filter_map(|hash| hash.parse::<CaHash>().err()) {
        found.push(("ca-hash", format!("join.ca-hash: {problem}")));
    }
}

fn check_console(console: &Console, found: &mut Vec<(&'static str, String)>) {
    let good = |device: &str| {
        device.starts_with(|c: char| c.is_ascii_alphabetic())
            && device.chars().all(|c| c.is_ascii_alphanumeric() || "-_.,/:".contains(c))
    };
    for device in console.devices.iter().filter(|device| !good(device)) {
        let plain = device.strip_prefix("console=").unwrap_or("tty0 or ttyS0,115200n8");
        found.push(("console", format!("console.devices: `{device}` is no console; write {plain}")));
    }
    if console.devices.is_empty() && console.login.is_none() {
        found.push(("console", "console: it says neither `devices` nor `login`".to_owned()));
    }
}

fn check_master(master: &Master, found: &mut Vec<(&'static str, String)>) {
    if let Some(address) = master.address.as_ref().filter(|address| address.parse::<IpAddr>().is_err()) {
        found.push(("address", format!("master.address: `{address}` is no IP address")));
    }
    if master.token.is_some() && master.token_file.is_some() {
        found.push(("token-file", "master: give one of `token` and `token-file`".to_owned()));
    }
    if let Some(Err(problem)) = master.token.as_deref().map(str::parse::<Token>) {
        found.push(("token", format!("master.token: {problem}")));
    }
    let (pods, services) = (master.pod_network.as_deref(), master.service_network.as_deref());
    let address = master.address.as_ref().and_then(|address| address.parse().ok());
    if let Err(problem) = Networks::new(pods, services, address, master.dns.unwrap_or(true)) {
        let key = if problem.starts_with("service-network") { "service-network" } else { "pod-network" };
        found.push((key, format!("master: {problem}")));
    }
    for problem in master.dns_clients.iter().filter_map(|text| network(text, "dns-clients").err()) {
        found.push(("dns-clients", format!("master.{problem}")));
    }
    for name in master.names.iter().filter(|name| !is_server_name(name)) {
        found.push(("names", format!("master.names: `{name}` is neither a DNS name nor an address")));
    }
    if master.dns == Some(false) && !master.dns_clients.is_empty() {
        let what = "master.dns-clients: nobody asks a DNS that `dns: false` switches off; take one of them out";
        found.push(("dns-clients", what.to_owned()));
    }
    if let Some(ca) = &master.ca {
        let (is_certificate, is_key) = (ca.certificate.contains("BEGIN CERTIFICATE"), ca.key.contains("PRIVATE KEY"));
        if !is_certificate {
            found.push(("certificate", "master.ca.certificate: it is no certificate in PEM".to_owned()));
        }
        if !is_key {
            found.push(("key", "master.ca.key: it is no private key in PEM".to_owned()));
        }
        let pair = pki::Pair { certificate: ca.certificate.clone(), key: ca.key.clone() };
        if is_certificate
            && is_key
            && let Err(problem) = pki::Authority::check(&pair)
        {
            found.push(("ca", format!("master.ca: {problem}")));
        }
    }
}

fn is_server_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.len() < 254 && text.bytes().all(allowed))
}

fn is_file_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hash() -> String {
        format!("sha256:{}", "ab".repeat(32))
    }

    #[test]
    fn the_whole_is_read() {
        let value = json!({
            "update": { "url": "https://updates.example/", "keys": null },
            "kernel-arguments": { "append": ["quiet"] },
            "console": { "devices": ["tty0", "ttyS0,115200n8"], "login": false },
            "registries": { "registry.example": { "mirrors": ["https://mirror.example"] } },
            "containers": { "web": { "container": [{ "image": "web:1" }] } },
            "join": { "server": "https://master:6443", "token": "abcdef.0123456789abcdef", "ca-hash": [hash()] },
        });
        let config = from_value(&value).unwrap();
        assert_eq!(config.join.unwrap().ca_hash, [hash()]);
        assert_eq!(config.containers["web"]["container"][0]["image"], "web:1");
        assert_eq!(config.update.unwrap().keys, Vec::<String>::new());
    }

    #[test]
    fn a_wrong_key_is_told_with_the_nearest() {
        let problems = from_value(&json!({ "join": { "sever": "https://m" } })).unwrap_err();
        assert_eq!(problems, ["unknown key `sever` in [join]; did you mean `server`?"]);
        assert!(from_value(&json!(["join"])).unwrap_err()[0].contains("must be a mapping"));
    }

    #[test]
    fn all_that_is_wrong_is_told_and_no_secret() {
        let value = json!({
            "update": { "url": "updates.example", "keys": ["key"] },
            "kernel-arguments": { "append": ["a b"] },
            "containers": { "../x": {} },
            "console": { "devices": ["console=tty0"] },
            "join": { "server": "master", "token": "S3CRET", "ca-hash": ["sha256:12"], "name": "{host}" },
        });
        let problems = from_value(&value).unwrap_err();
        assert_eq!(problems.len(), 9, "{problems:?}");
        assert!(!problems.concat().contains("S3CRET"));
        let neither = from_value(&json!({ "join": { "server": "https://m" } })).unwrap_err();
        assert!(neither[0].contains("one of `token`, `token-file` and") && neither[1].contains("ca-hash is missing"));
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_not_told() {
        let one = |value: Value| {
            let problems = from_value(&value).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems.concat()
        };
        let registry = one(json!({ "registries": { "r.example": { "username": "u", "password": 20240117 } } }));
        assert_eq!(registry, "`registries.r.example.password`: invalid type: integer, expected a string");
        let token = one(json!({ "join": { "server": "https://m", "token": 123456.5, "ca-hash": [hash()] } }));
        assert_eq!(token, "`join.token`: invalid type: floating point, expected a string");
        let key = "-----BEGIN PRIVATE KEY-----\nS3CRET\n-----END PRIVATE KEY-----\n";
        let master = one(json!({ "master": { "ca": key } }));
        assert!(
            master.starts_with("`master.ca`: invalid type: string, expected ") && !master.contains("KEY"),
            "{master}"
        );
    }

    #[test]
    fn a_master_is_checked_and_its_key_is_not_told() {
        let good = json!({ "master": { "token": "abcdef.0123456789abcdef", "pod-network": "10.1.0.0/16" } });
        assert!(from_value(&good).is_ok() && from_value(&json!({ "master": {} })).is_ok());
        let bad = json!({ "master": {
            "address": "master", "pod-network": "10.1.0.0/33", "token-file": "/t", "token": "x",
            "dns-clients": ["198.51.100.0/24", "everybody"], "dns": false,
            "ca": { "certificate": "C", "key": "S3CRET" },
        } });
        let problems = from_value(&bad).unwrap_err();
        assert_eq!(problems.len(), 8, "{problems:?}");
        assert!(!problems.concat().contains("S3CRET"));
    }

    #[test]
    fn consoles_are_told_in_one_place() {
        let told = |arguments: Value, console: Value| {
            from_value(&json!({ "kernel-arguments": arguments, "console": console })).err().unwrap_or_default()
        };
        let devices = || json!({ "devices": ["tty0"] });
        for list in ["append", "delete"] {
            for argument in ["console=ttyS0", "console"] {
                let problems = told(json!({ list: [argument] }), devices());
                assert!(problems.len() == 1 && problems[0].contains("`console.devices`"), "{argument}: {problems:?}");
            }
        }
        let login = told(json!({ "append": ["systemd.getty_auto=no"] }), json!({ "login": true }));
        assert!(login.len() == 1 && login[0].contains("`console.login`"), "{login:?}");
        assert_eq!(told(json!({ "append": ["console=ttyS0"] }), json!({ "login": true })), Vec::<String>::new());
        assert_eq!(told(json!({ "append": ["consoleblank=60"] }), devices()), Vec::<String>::new());
    }

    #[test]
    fn a_file_has_lines() {
        let text =
            "[join]\nserver = \"master\"\ntoken-file = \"/t\"\n".to_owned() + &format!("ca-hash = [\"{}\"]\n", hash());
        let problems = from_toml(&Source { path: "host.toml".into(), text }).unwrap_err();
        assert_eq!(problems[0].to_string(), "host.toml:2:1: join.server: `master` is no https:// URL of an API server");
    }

    #[test]
    fn the_schema_has_every_key() {
        let schema = schema();
        let keys = schema["properties"].as_object().unwrap();
        assert!(TOP.iter().all(|key| keys.contains_key(*key)) && keys.len() == TOP.len(), "{schema}");
        assert_eq!(schema["additionalProperties"], false);
        assert!(!schema.to_string().contains("$ref"), "it is put into another schema: {schema}");
        assert!(!schema.to_string().contains("\"const\""), "cloud-init does not know it: {schema}");
    }
}
