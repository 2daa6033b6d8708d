//! Owns the tests of the configuration as a whole: what it takes, and what it says of mistakes.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;

use keelson_common::strict::Source;

use super::*;
use crate::eviction::threshold::tests::DEFAULTS;

const JOINING: &str = "server = \"https://master:6443\"\ntoken = \"keel01.0123456789abcdef\"\n";

fn hash() -> String {
    format!("ca-hash = \"sha256:{}\"\n", "ab".repeat(32))
}

fn read(text: &str) -> Result<Settings, String> {
    read_on(text, "Node-1", &[])
}

fn read_on(text: &str, hostname: &str, files: &[(&str, &str)]) -> Result<Settings, String> {
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    let facts = Facts {
        hostname: hostname.to_owned(),
        systemd: true,
        address: &|server| match server {
            "master:6443" => Ok(IpAddr::from([10, 0, 0, 5])),
            _ => Err(io::Error::other("no route")),
        },
        read: &|path| {
            let text = path.to_str().and_then(|path| files.get(path));
            text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
        },
    };
    parse(Source { path: "node.toml".into(), text: text.to_owned() }, &facts).map_err(|error| error.to_string())
}

#[test]
fn the_rest_has_defaults() {
    let settings = read(&format!("{JOINING}{}", hash())).unwrap();
    assert_eq!(settings.name, "node-1");
    assert_eq!(settings.addresses, [IpAddr::from([10, 0, 0, 5])]);
    assert_eq!(settings.cgroup_driver, CgroupDriver::Systemd);
    assert_eq!((settings.port, settings.max_pods), (10250, 110));
    assert_eq!(settings.root, Path::new("/var/lib/keelson/node"));
    assert_eq!(settings.resolv_conf, Path::new("/etc/resolv.conf"));
    let eviction = DEFAULTS.map(|(signal, value)| (signal.to_owned(), value.to_owned()));
    assert_eq!(settings.eviction, BTreeMap::from(eviction));
    assert_eq!(settings.join.token.unwrap().id(), "keel01");
    assert!(settings.services && settings.pod_network);
}

#[test]
fn everything_can_be_said() {
    let text = format!(
        "{JOINING}{}name = \"one\"\naddress = [\"10.1.1.1\", \"fd00::1\"]\nport = 10251\ncgroup-driver = \"cgroupfs\"\n\
         taints = [\"gpu=yes:NoSchedule\"]\nvolume-refresh = \"1m\"\nservices = false\nprovider-id = \"x://1\"\n\
         [labels]\nrack = \"a\"\n[reserved]\ncpu = \"500m\"\n[eviction]\nmemory-available = \"5%\"\npid-available = \
         \"never\"\n",
        hash()
    );
    let settings = read(&text).unwrap();
    assert_eq!(settings.name, "one");
    assert_eq!(settings.addresses.len(), 2);
    assert_eq!(settings.cgroup_driver, CgroupDriver::Cgroupfs);
    assert_eq!(settings.taints[0].key, "gpu");
    assert_eq!(settings.labels["rack"], "a");
    assert_eq!(settings.reserved["cpu"], "500m");
    assert_eq!(settings.eviction["memory.available"], "5%");
    assert!(!settings.eviction.contains_key("pid.available") && !settings.services);
}

#[test]
fn problems_have_their_line_and_a_way_out() {
    let wrong = read(&format!("{JOINING}{}adress = \"10.0.0.1\"\n", hash())).unwrap_err();
    assert_eq!(wrong, "node.toml:4:1: unknown key `adress`; did you mean `address`?");
    let wrong = read("token = \"keel01.0123456789abcdef\"\nport = \"x\"\n").unwrap_err();
    assert!(wrong.starts_with("node.toml:2:8: `port`"), "{wrong}");
    let wrong = read("token = \"keel01.short\"\ntaints = [\"a\"]\n[reserved]\ncpus = \"1\"\n").unwrap_err();
    for part in [
        "1:9: this is no bootstrap token",
        "`server` is missing",
        "`ca-hash` is missing",
        "2:11: `a` is no taint",
        "did you mean `cpu`",
    ] {
        assert!(wrong.contains(part), "{part} in {wrong}");
    }
    assert!(!wrong.contains("short"), "{wrong}");
}

#[test]
fn a_name_and_an_address_are_needed() {
    let text = format!("{JOINING}{}", hash());
    assert!(read_on(&text, "my_host", &[]).unwrap_err().contains("the hostname `my_host` cannot be a node's name"));
    assert!(read_on(&text, "localhost", &[]).unwrap_err().contains("set another, or the key `name`"));
    let elsewhere = "server = \"https://elsewhere:6443\"\nca = \"/ca\"\n";
    let wrong = read_on(elsewhere, "one", &[("/ca", "nothing")]).unwrap_err();
    assert!(wrong.contains("set the key `address`") && wrong.contains("no certificate in it"), "{wrong}");
}

#[test]
fn tokens_come_from_files_too() {
    let text = format!("server = \"master:6443\"\ntoken-file = \"/token\"\n{}", hash());
    let settings = read_on(&text, "one", &[("/token", "keel01.0123456789abcdef\n")]).unwrap();
    assert_eq!(settings.join.token.unwrap().reveal(), "keel01.0123456789abcdef");
    assert!(read_on(&text, "one", &[("/token", "none")]).unwrap_err().contains("/token: this is no bootstrap token"));
}

#[test]
fn what_is_joined_by_may_be_gone() {
    let text = "server = \"master:6443\"\ntoken-file = \"/token\"\nca = \"/ca\"\n";
    let join = read_on(text, "one", &[]).unwrap().join;
    assert_eq!((join.token, join.ca), (None, None));
    assert_eq!(join.token_file.as_deref(), Some(Path::new("/token")));
    assert_eq!(join.ca_file.as_deref(), Some(Path::new("/ca")));
}

#[test]
fn a_kubeconfig_names_the_server() {
    let config = "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {server: \"https://master:6443\"}\n\
                  contexts:\n- name: x\n  context: {cluster: c, user: u}\ncurrent-context: x\nusers: []\n";
    let settings = read_on("kubeconfig = \"/k\"\n", "one", &[("/k", config)]).unwrap();
    assert_eq!(settings.server, "https://master:6443");
    assert!(read_on("kubeconfig = \"/k\"\n", "one", &[]).unwrap_err().contains("cannot use the kubeconfig /k"));
    let wrong = read_on("kubeconfig = \"/k\"\n", "one", &[("/k", "contexts: []")]).unwrap_err();
    assert!(wrong.contains("current context"), "{wrong}");
}
