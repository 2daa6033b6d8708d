//! Owns the metadata keys that `keelson compose` writes into a commit and that `keelson diff`,
//! `keelson image` and `keeld` read back.

use glib::prelude::*;
use glib::{Variant, VariantDict};
use serde::Serialize;

use crate::packages::Package;

/// libostree's key for the version a person sees.
pub const VERSION: &str = "version";
/// The packages, GVariant `a(sss)`: name, version, architecture, sorted by name.
pub const PACKAGES: &str = "keelson.packages";
/// SHA-256 of the effective manifest, hexadecimal.
pub const MANIFEST_DIGEST: &str = "keelson.manifest-digest";
/// SHA-256 of the lock file's content, hexadecimal.
pub const LOCK_DIGEST: &str = "keelson.lock-digest";
/// Default kernel arguments, GVariant `as`, each `key` or `key=value`.
pub const KARGS: &str = "keelson.kargs";
/// The manifest's name, which is the host's product name.
pub const NAME: &str = "keelson.name";
/// The URL hosts made from this commit update from, when the manifest names one.
pub const UPDATE_URL: &str = "keelson.update-url";
/// The stateroot (osname) that hosts are deployed under.
pub const STATEROOT: &str = "keelson";
/// The name of the remote that hosts update from.
pub const REMOTE: &str = "keelson";

/// What a commit says about itself. Foreign commits have empty fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CommitInfo {
    /// The manifest's name.
    pub name: Option<String>,
    /// The version a person sees.
    pub version: Option<String>,
    /// Seconds since the epoch.
    pub timestamp: u64,
    /// SHA-256 of the effective manifest.
    pub manifest_digest: Option<String>,
    /// SHA-256 of the lock.
    pub lock_digest: Option<String>,
    /// Default kernel arguments.
    pub kargs: Vec<String>,
    /// Where hosts update from.
    pub update_url: Option<String>,
    /// The packages, sorted by name.
    pub packages: Vec<Package>,
}

impl CommitInfo {
    /// Reads a commit object, the GVariant `(a{sv}aya(say)sstayay)` that `OstreeRepo::load_commit`
    /// gives.
    pub fn from_variant(commit: &Variant) -> Self {
        let dict = VariantDict::new(Some(&commit.child_value(0)));
        let text = |key: &str| dict.lookup::<String>(key).ok().flatten();
        let packages: Vec<(String, String, String)> = dict.lookup(PACKAGES).ok().flatten().unwrap_or_default();
        Self {
            name: text(NAME),
            version: text(VERSION),
            timestamp: commit.child_value(5).get::<u64>().map(u64::from_be).unwrap_or_default(),
            manifest_digest: text(MANIFEST_DIGEST),
            lock_digest: text(LOCK_DIGEST),
            kargs: dict.lookup(KARGS).ok().flatten().unwrap_or_default(),
            update_url: text(UPDATE_URL),
            packages: packages
                .into_iter()
                .map(|(name, version, architecture)| Package { name, version, architecture })
                .collect(),
        }
    }

    /// The metadata dictionary (`a{sv}`) to commit, with `ostree.bootable` set.
    pub fn to_metadata(&self) -> Variant {
        let dict = VariantDict::new(None);
        let text = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                dict.insert(key, value.as_str());
            }
        };
        text(NAME, &self.name);
        text(VERSION, &self.version);
        text(MANIFEST_DIGEST, &self.manifest_digest);
        text(LOCK_DIGEST, &self.lock_digest);
        text(UPDATE_URL, &self.update_url);
        dict.insert("ostree.bootable", true);
        dict.insert_value(KARGS, &self.kargs.to_variant());
        let packages: Vec<(&str, &str, &str)> =
            self.packages.iter().map(|p| (p.name.as_str(), p.version.as_str(), p.architecture.as_str())).collect();
        dict.insert_value(PACKAGES, &packages.to_variant());
        dict.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survives_a_round_trip() {
        let info = CommitInfo {
            name: Some("host".into()),
            version: Some("1.2".into()),
            timestamp: 1_700_000_000,
            kargs: vec!["quiet".into()],
            packages: vec![Package { name: "a".into(), version: "1".into(), architecture: "all".into() }],
            ..CommitInfo::default()
        };
        let metadata = info.to_metadata();
        let (none, related): (Vec<u8>, Vec<(String, Vec<u8>)>) = (vec![], vec![]);
        let commit = Variant::tuple_from_iter([
            metadata,
            none.to_variant(),
            related.to_variant(),
            "".to_variant(),
            "".to_variant(),
            info.timestamp.to_be().to_variant(),
            none.to_variant(),
            none.to_variant(),
        ]);
        assert_eq!(CommitInfo::from_variant(&commit), info);
    }
}
