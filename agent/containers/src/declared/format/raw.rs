//! Owns a declaration as a person writes it: strict serde types, nothing checked beyond the shape.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// Text and its place in the file.
pub type Text = Spanned<String>;

/// Keys of the top level.
pub const TOP: [&str; 2] = ["group", "container"];

/// One file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raw {
    pub group: Option<Spanned<RawGroup>>,
    #[serde(default)]
    pub container: Vec<Spanned<RawContainer>>,
}

/// What the containers of a file share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawGroup {
    pub network: Option<Text>,
    #[serde(default)]
    pub ports: Vec<Text>,
    pub hostname: Option<Text>,
    #[serde(default)]
    pub volumes: Vec<Text>,
    #[serde(default)]
    pub environment: BTreeMap<Text, Text>,
    #[serde(default)]
    pub extra_hosts: Vec<Text>,
    #[serde(default)]
    pub dns: Vec<Text>,
}

/// One container.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawContainer {
    pub name: Option<Text>,
    pub image: Text,
    pub enabled: Option<bool>,
    pub entrypoint: Option<Vec<Text>>,
    pub command: Option<Vec<Text>>,
    #[serde(default)]
    pub environment: BTreeMap<Text, Text>,
    #[serde(default)]
    pub env_files: Vec<Text>,
    #[serde(default)]
    pub labels: BTreeMap<Text, Text>,
    pub user: Option<Text>,
    pub workdir: Option<Text>,
    pub hostname: Option<Text>,
    pub network: Option<Text>,
    #[serde(default)]
    pub ports: Vec<Text>,
    #[serde(default)]
    pub links: Vec<Text>,
    #[serde(default)]
    pub extra_hosts: Vec<Text>,
    #[serde(default)]
    pub dns: Vec<Text>,
    #[serde(default)]
    pub volumes: Vec<Text>,
    #[serde(default)]
    pub mounts: Vec<Spanned<RawMount>>,
    #[serde(default)]
    pub tmpfs: Vec<Text>,
    #[serde(default)]
    pub devices: Vec<Text>,
    pub read_only: Option<bool>,
    pub privileged: Option<bool>,
    #[serde(default)]
    pub cap_add: Vec<Text>,
    #[serde(default)]
    pub cap_drop: Vec<Text>,
    #[serde(default)]
    pub security_opt: Vec<Text>,
    #[serde(default)]
    pub sysctls: BTreeMap<Text, Text>,
    pub stop_signal: Option<Text>,
    pub stop_timeout: Option<Text>,
    #[serde(default)]
    pub after: Vec<Text>,
    #[serde(default)]
    pub requires: BTreeMap<Text, Text>,
    #[serde(default)]
    pub restart: RawRestart,
    #[serde(default)]
    pub resources: RawResources,
    pub health: Option<Spanned<RawHealth>>,
    pub update: Option<Spanned<RawUpdate>>,
}

/// What is mounted, in words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawMount {
    #[serde(rename = "type")]
    pub kind: Text,
    pub source: Option<Text>,
    pub target: Text,
    #[serde(default)]
    pub read_only: bool,
    pub propagation: Option<Text>,
    pub size: Option<Text>,
    pub mode: Option<Text>,
}

/// When a container that ended is started again.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawRestart {
    pub policy: Option<Text>,
    pub retries: Option<u32>,
    pub delay: Option<Text>,
    pub max_delay: Option<Text>,
    pub reset_after: Option<Text>,
}

/// How much of the host it may use.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawResources {
    pub memory: Option<Text>,
    pub memory_swap: Option<Text>,
    pub cpus: Option<Spanned<f64>>,
    pub cpu_shares: Option<Spanned<i64>>,
    pub pids: Option<Spanned<i64>>,
}

/// How its health is found out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawHealth {
    pub command: Option<Vec<Text>>,
    pub shell: Option<Text>,
    #[serde(default)]
    pub disable: bool,
    pub interval: Option<Text>,
    pub timeout: Option<Text>,
    pub start_period: Option<Text>,
    pub retries: Option<Spanned<i64>>,
    pub on_unhealthy: Option<Text>,
}

/// How it comes to newer images.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawUpdate {
    pub follow: Text,
    pub interval: Option<Text>,
    pub window: Option<Text>,
    pub trial: Option<Text>,
}
