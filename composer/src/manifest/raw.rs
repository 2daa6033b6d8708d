//! Owns the manifest as a person writes it: strict serde types, nothing checked beyond the shape.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Spanned;

/// Text and its place in the file.
pub type Text = Spanned<String>;

/// One manifest file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Raw {
    pub name: Option<Text>,
    #[serde(rename = "ref")]
    pub reference: Option<Text>,
    pub version: Option<Spanned<RawVersion>>,
    pub architecture: Option<Text>,
    #[serde(default)]
    pub include: Vec<Text>,
    #[serde(default)]
    pub local: Vec<Text>,
    #[serde(default)]
    pub packages: Vec<Text>,
    #[serde(default)]
    pub exclude: Vec<Text>,
    pub recommends: Option<bool>,
    #[serde(default)]
    pub kargs: Vec<Text>,
    pub hostname: Option<Text>,
    pub update: Option<RawUpdate>,
    #[serde(default)]
    pub postprocess: Vec<Spanned<RawScript>>,
    #[serde(default)]
    pub drop: RawDrop,
    #[serde(default)]
    pub units: RawUnits,
    #[serde(default)]
    pub os_release: BTreeMap<Text, Text>,
    #[serde(default)]
    pub initramfs: RawInitramfs,
    #[serde(default)]
    pub repository: Vec<Spanned<RawRepository>>,
    #[serde(default)]
    pub file: Vec<Spanned<RawFile>>,
    #[serde(default)]
    pub user: Vec<RawUser>,
    #[serde(default)]
    pub group: Vec<RawGroup>,
    #[serde(default)]
    pub image: Vec<Spanned<RawImage>>,
}

/// `"13.1"` or `{ prefix = "13." }`.
#[derive(Debug)]
pub enum RawVersion {
    Fixed(String),
    Counter(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawUpdate {
    pub url: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawScript {
    pub file: Option<Text>,
    pub script: Option<Text>,
}

/// What to take out of what the includes bring in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawDrop {
    #[serde(default)]
    pub repositories: Vec<Text>,
    #[serde(default)]
    pub packages: Vec<Text>,
    #[serde(default)]
    pub exclude: Vec<Text>,
    #[serde(default)]
    pub files: Vec<Text>,
    #[serde(default)]
    pub units: Vec<Text>,
    #[serde(default)]
    pub users: Vec<Text>,
    #[serde(default)]
    pub groups: Vec<Text>,
    #[serde(default)]
    pub kargs: Vec<Text>,
    #[serde(default)]
    pub os_release: Vec<Text>,
    #[serde(default)]
    pub initramfs: Vec<Text>,
    #[serde(default)]
    pub postprocess: Vec<Text>,
    #[serde(default)]
    pub images: Vec<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawUnits {
    #[serde(default)]
    pub enable: Vec<Text>,
    #[serde(default)]
    pub disable: Vec<Text>,
    #[serde(default)]
    pub mask: Vec<Text>,
    pub default: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawInitramfs {
    #[serde(default)]
    pub omit: Vec<Text>,
    #[serde(default)]
    pub add: Vec<Text>,
    #[serde(default)]
    pub drivers: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRepository {
    pub suite: Text,
    pub name: Option<Text>,
    pub archive: Option<Text>,
    pub uri: Option<Text>,
    #[serde(default)]
    pub components: Vec<Text>,
    pub key: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFile {
    pub target: Text,
    pub source: Option<Text>,
    pub content: Option<Text>,
    pub mode: Option<Text>,
    pub user: Option<Text>,
    pub group: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawUser {
    pub name: Text,
    pub uid: Option<Spanned<u32>>,
    pub group: Option<Text>,
    pub home: Option<Text>,
    pub shell: Option<Text>,
    #[serde(default)]
    pub groups: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGroup {
    pub name: Text,
    pub gid: Option<Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawImage {
    pub name: Text,
    pub from: Option<Text>,
    pub archive: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCounter {
    prefix: String,
}

impl<'de> Deserialize<'de> for RawVersion {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VersionVisitor)
    }
}

struct VersionVisitor;

impl<'de> Visitor<'de> for VersionVisitor {
    type Value = RawVersion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version such as \"13.1\" or a counter such as { prefix = \"13.\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawVersion, E> {
        Ok(RawVersion::Fixed(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawVersion, A::Error> {
        RawCounter::deserialize(MapAccessDeserializer::new(map)).map(|counter| RawVersion::Counter(counter.prefix))
    }
}
