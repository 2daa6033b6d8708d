//! Where a registry is reached, as containerd's `hosts.toml` describes it:
//!
//! ```toml
//! server = "https://registry.example.org"
//! ca = "ca.crt"
//!
//! [host."https://mirror.example.org"]
//! capabilities = ["pull", "resolve"]
//! ```
//!
//! The hosts are asked in their order in the file, the server last. Without a file the registry is
//! its own server, over HTTPS; one on loopback may also speak plain HTTP.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::error::{Error, Result};

/// A place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// `registry.example.org:5000`.
    pub address: String,
    /// Whether it is spoken to in plain text.
    pub plain: bool,
    /// What stands before the repository's name, as some mirrors have it: `proxy`.
    pub prefix: Option<String>,
    /// What it is good for.
    pub can: Can,
    /// Files with the certificates of its CA, in addition to the system's.
    pub ca: Vec<PathBuf>,
    /// Whether its certificate is not looked at.
    pub skip_verify: bool,
    /// Whether it is the registry itself and no mirror of it: it gets the registry's credentials.
    pub origin: bool,
    /// Whether the next host is the same place over plain HTTP, to be tried when this is no HTTPS.
    pub probing: bool,
}

/// What a host is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Can {
    /// To tell what a tag stands for.
    pub resolve: bool,
    /// To give what a digest stands for.
    pub pull: bool,
    /// To take images.
    pub push: bool,
}

const ALL: Can = Can { resolve: true, pull: true, push: true };

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<String>,
    #[serde(default)]
    host: BTreeMap<String, Spanned<Settings>>,
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore>,
    client: Option<toml::Value>,
    skip_verify: Option<bool>,
    override_path: Option<bool>,
    header: Option<toml::Value>,
    dial_timeout: Option<toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    capabilities: Option<Vec<String>>,
    ca: Option<OneOrMore>,
    client: Option<toml::Value>,
    skip_verify: Option<bool>,
    override_path: Option<bool>,
    header: Option<toml::Value>,
    /// containerd's: here connecting has a limit of its own.
    #[serde(rename = "dial_timeout")]
    _dial_timeout: Option<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(PathBuf),
    More(Vec<PathBuf>),
}

/// The hosts of a registry, in the order they are to be asked.
pub fn hosts(folder: &Path, registry: &str) -> Result<Vec<Host>> {
    for name in folder_names(registry) {
        let folder = folder.join(name);
        let path = folder.join("hosts.toml");
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                return described(&text, registry, &folder)
                    .map_err(|why| Error::failed(format!("use {}", path.display()), why));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::failed(format!("read {}", path.display()), error)),
        }
        let ca = certificates(&folder);
        if !ca.is_empty() {
            return Ok(undescribed(registry, ca));
        }
    }
    Ok(undescribed(registry, Vec::new()))
}

/// The names a registry's folder may have, the default for all last.
fn folder_names(registry: &str) -> Vec<String> {
    let port = registry.rsplit_once(':').map(|(host, port)| format!("{host}_{port}_"));
    [registry.to_owned()].into_iter().chain(port).chain(["_default".to_owned()]).collect()
}

/// A folder without hosts.toml may have the CA's certificates, as Docker has them: `*.crt`.
fn certificates(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "crt")).collect();
    files.sort();
    files
}

/// Whether an address is on this machine.
fn loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let host = host.map_or(address, |(host, _)| host).trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Where docker.io really is.
fn server_of(registry: &str) -> &str {
    if registry == "docker.io" { "registry-1.docker.io" } else { registry }
}

fn undescribed(registry: &str, ca: Vec<PathBuf>) -> Vec<Host> {
    let address = server_of(registry).to_owned();
    let probing = loopback(&address) && ca.is_empty();
    let secure = Host { address, plain: false, prefix: None, can: ALL, ca, skip_verify: false, origin: true, probing };
    let plain = probing.then(|| Host { plain: true, probing: false, ..secure.clone() });
    [secure].into_iter().chain(plain).collect()
}

fn described(text: &str, registry: &str, folder: &Path) -> std::result::Result<Vec<Host>, String> {
    let File { server, host, capabilities, ca, client, skip_verify, override_path, header, dial_timeout } =
        toml::from_str(text).map_err(|error| error.to_string())?;
    let mut entries: Vec<_> = host.into_iter().collect();
    entries.sort_by_key(|(_, settings)| settings.span().start);
    let mut hosts = Vec::new();
    for (url, settings) in entries {
        hosts.push(one(&url, settings.into_inner(), registry, folder)?);
    }
    let settings =
        Settings { capabilities, ca, client, skip_verify, override_path, header, _dial_timeout: dial_timeout };
    let url = server.unwrap_or_else(|| format!("https://{}", server_of(registry)));
    let server = Host { origin: true, ..one(&url, settings, registry, folder)? };
    // containerd asks the server only when no host is it.
    match hosts.iter_mut().find(|host| host.address == server.address && host.plain == server.plain) {
        Some(same) => same.origin = true,
        None => hosts.push(server),
    }
    Ok(hosts)
}

fn one(url: &str, settings: Settings, registry: &str, folder: &Path) -> std::result::Result<Host, String> {
    if settings.client.is_some() || settings.header.is_some() {
        return Err(format!("{url}: client certificates and headers are not supported, use credentials in auth.json"));
    }
    let (plain, rest) = match url.split_once("://") {
        Some(("https", rest)) => (false, rest),
        Some(("http", rest)) => (true, rest),
        Some((scheme, _)) => return Err(format!("{url}: {scheme} is neither https nor http")),
        None => (loopback(url), url),
    };
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    if address.is_empty() {
        return Err(format!("{url:?} names no host"));
    }
    let prefix = prefix(path, settings.override_path.unwrap_or(false)).map_err(|why| format!("{url}: {why}"))?;
    let ca = match settings.ca {
        None => Vec::new(),
        Some(OneOrMore::One(file)) => vec![file],
        Some(OneOrMore::More(files)) => files,
    };
    Ok(Host {
        address: address.to_owned(),
        plain,
        prefix,
        can: capabilities(settings.capabilities.as_deref()).map_err(|why| format!("{url}: {why}"))?,
        ca: ca.into_iter().map(|file| folder.join(file)).collect(),
        skip_verify: settings.skip_verify.unwrap_or(false),
        origin: address == server_of(registry),
        probing: false,
    })
}

/// What a path in a host's address puts before repositories: `/v2/proxy` puts `proxy`.
fn prefix(path: &str, whole: bool) -> std::result::Result<Option<String>, String> {
    let path = path.trim_matches('/');
    let within = path.strip_prefix("v2").map(|rest| rest.trim_start_matches('/'));
    match (path, within, whole) {
        ("", _, _) => Ok(None),
        (_, Some(""), _) => Ok(None),
        (_, Some(prefix), _) => Ok(Some(prefix.to_owned())),
        (_, None, _) => Err(format!("the path /{path} does not begin with /v2")),
    }
}

fn capabilities(names: Option<&[String]>) -> std::result::Result<Can, String> {
    let Some(names) = names.filter(|names| !names.is_empty()) else { return Ok(ALL) };
    let mut can = Can { resolve: false, pull: false, push: false };
    for name in names {
        match name.as_str() {
            "resolve" => can.resolve = true,
            "pull" => can.pull = true,
            "push" => can.push = true,
            other => return Err(format!("{other:?} is no capability: pull, resolve and push are")),
        }
    }
    Ok(can)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, registry: &str) -> Vec<Host> {
        described(text, registry, Path::new("/c")).unwrap()
    }

    fn addresses(hosts: &[Host]) -> Vec<&str> {
        hosts.iter().map(|host| host.address.as_str()).collect()
    }

    #[test]
    fn hosts_are_asked_in_their_order_and_the_server_last() {
        let text = r#"
            server = "https://registry.example"
            ca = "/etc/ca.pem"
            [host."https://z.example"]
            capabilities = ["pull"]
            ca = ["one.crt", "/two.crt"]
            [host."http://a.example:5000"]
            skip_verify = true
        "#;
        let hosts = read(text, "registry.example");
        assert_eq!(addresses(&hosts), ["z.example", "a.example:5000", "registry.example"]);
        assert_eq!(hosts[0].can, Can { resolve: false, pull: true, push: false });
        assert_eq!(hosts[0].ca, [PathBuf::from("/c/one.crt"), PathBuf::from("/two.crt")]);
        assert!(hosts[1].plain && hosts[1].skip_verify && !hosts[1].origin);
        assert!(hosts[2].origin && !hosts[2].plain && hosts[2].ca == [PathBuf::from("/etc/ca.pem")]);
    }

    #[test]
    fn the_server_is_asked_once_and_its_credentials_stay_with_it() {
        let hosts = read("[host.\"https://r.example\"]\nskip_verify = true", "r.example");
        assert_eq!((addresses(&hosts), hosts[0].origin), (vec!["r.example"], true));
        let hosts = read("server = \"https://s.example\"\n[host.\"https://s.example\"]", "r.example");
        assert_eq!((addresses(&hosts), hosts[0].origin), (vec!["s.example"], true));
        let hosts = read("[host.\"https://m.example\"]", "docker.io");
        assert_eq!(addresses(&hosts), ["m.example", "registry-1.docker.io"]);
        assert_eq!((hosts[0].origin, hosts[1].origin), (false, true));
    }

    #[test]
    fn paths_of_mirrors_come_before_repositories() {
        let text = "[host.\"https://m.example/v2/proxy/hub\"]\noverride_path = true";
        assert_eq!(read(text, "docker.io")[0].prefix.as_deref(), Some("proxy/hub"));
        assert_eq!(prefix("v2/", false), Ok(None));
        assert!(prefix("proxy", true).unwrap_err().contains("/v2"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| described(text, "r.example", Path::new("/c")).unwrap_err();
        assert!(message("sever = 'x'").contains("sever"));
        assert!(message("server = 'ftp://x'").contains("ftp"));
        assert!(message("[host.\"https://x\"]\ncapabilities = [\"fetch\"]").contains("fetch"));
        assert!(message("client = 'x.pem'").contains("auth.json"));
    }

    #[test]
    fn without_a_file_only_loopback_may_be_plain() {
        let plain =
            |registry: &str| undescribed(registry, Vec::new()).iter().map(|host| host.plain).collect::<Vec<_>>();
        assert_eq!(plain("registry.example"), [false]);
        assert_eq!(plain("192.168.1.2:5000"), [false]);
        for here in ["localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
            assert_eq!(plain(here), [false, true], "{here}");
        }
        assert_eq!(undescribed("localhost", vec![PathBuf::from("/ca.crt")]).len(), 1);
        assert_eq!(addresses(&undescribed("docker.io", Vec::new())), ["registry-1.docker.io"]);
    }

    #[test]
    fn folders_are_looked_at_in_containerds_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, server: &str| {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("hosts.toml"), format!("server = 'https://{server}'"))
                .unwrap();
        };
        let first = || hosts(folder.path(), "r.example:5000").unwrap()[0].address.clone();
        assert_eq!(first(), "r.example:5000");
        write("_default", "all.example");
        assert_eq!(first(), "all.example");
        write("r.example_5000_", "under.example");
        assert_eq!(first(), "under.example");
        write("r.example:5000", "colon.example");
        assert_eq!(first(), "colon.example");
        std::fs::create_dir_all(folder.path().join("d.example")).unwrap();
        std::fs::write(folder.path().join("d.example/ca.crt"), "").unwrap();
        assert_eq!(hosts(folder.path(), "d.example").unwrap()[0].ca, [folder.path().join("d.example/ca.crt")]);
    }
}
