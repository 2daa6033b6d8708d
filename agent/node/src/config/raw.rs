//! Owns the configuration as a person writes it: strict serde types, nothing checked beyond the shape.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// Text and its place in the file.
pub type Text = Spanned<String>;

/// Keys of the top level.
pub const TOP: [&str; 32] = [
    "server",
    "name",
    "addresses",
    "token",
    "token-file",
    "ca-hash",
    "ca",
    "kubeconfig",
    "root",
    "run",
    "logs",
    "containerd",
    "cni-conf",
    "static-pods",
    "resolv-conf",
    "port",
    "cgroup-driver",
    "labels",
    "taints",
    "max-pods",
    "pod-pids-limit",
    "cluster-dns",
    "cluster-domain",
    "reserved",
    "services",
    "pod-network",
    "pause-image",
    "registry-auth",
    "volume-refresh",
    "provider-id",
    "eviction",
    "address",
];

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raw {
    pub server: Option<Text>,
    pub name: Option<Text>,
    #[serde(alias = "address")]
    pub addresses: Option<Spanned<Words>>,
    pub token: Option<Text>,
    pub token_file: Option<Text>,
    pub ca_hash: Option<Spanned<Words>>,
    pub ca: Option<Text>,
    pub kubeconfig: Option<Text>,
    pub root: Option<Text>,
    pub run: Option<Text>,
    pub logs: Option<Text>,
    pub containerd: Option<Text>,
    pub cni_conf: Option<Text>,
    pub cgroup_root: Option<Text>,
    pub static_pods: Option<Text>,
    pub resolv_conf: Option<Text>,
    pub port: Option<Spanned<u16>>,
    pub cgroup_driver: Option<Text>,
    #[serde(default)]
    pub labels: BTreeMap<Text, Text>,
    #[serde(default)]
    pub taints: Vec<Text>,
    pub max_pods: Option<Spanned<u32>>,
    pub pod_pids_limit: Option<Spanned<u32>>,
    pub cluster_dns: Option<Spanned<Words>>,
    pub cluster_domain: Option<Text>,
    #[serde(default)]
    pub reserved: BTreeMap<Text, Text>,
    pub services: Option<bool>,
    pub pod_network: Option<bool>,
    pub pause_image: Option<Text>,
    pub registry_auth: Option<Spanned<Words>>,
    pub volume_refresh: Option<Text>,
    pub provider_id: Option<Text>,
    #[serde(default)]
    pub eviction: BTreeMap<Text, Text>,
}

/// One word, or a list of them.
#[derive(Debug)]
pub struct Words(pub Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E>(self, word: &str) -> Result<Words, E> {
        Ok(Words(vec![word.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Words, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = items.next_element()? {
            words.push(word);
        }
        Ok(Words(words))
    }
}
