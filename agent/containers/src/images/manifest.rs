//! Manifests and indexes: which is which, which platform is ours, and the labels by which
//! containerd's garbage collector follows them.

use std::collections::HashMap;

use containerd_client::types::Descriptor as Target;
use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, MediaType, Os};
use serde::Deserialize;

use crate::error::{Error, Result};

/// Docker's media type of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's media type of an index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI's media type of a manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's media type of an index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The label that makes the garbage collector keep a snapshot.
pub const SNAPSHOT_LABEL: &str = "containerd.io/gc.ref.snapshot.";
/// The label of a layer that tells its diff id.
pub const UNCOMPRESSED_LABEL: &str = "containerd.io/uncompressed";

/// What a name can point to.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one is read at a time, and not kept")]
pub enum Document {
    /// One image.
    Manifest(ImageManifest),
    /// Images for several platforms.
    Index(ImageIndex),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Reads a manifest or an index, OCI's or Docker's version 2.
    pub fn parse(data: &[u8]) -> Result<Self> {
        let broken = |error: serde_json::Error| Error::failed("read the image's manifest", error);
        let shape: Shape = serde_json::from_slice(data).map_err(broken)?;
        if shape.schema_version != 2 {
            return Err(Error::Failed(format!(
                "the image has a manifest of schema version {}, which is too old: push it again with a current client",
                shape.schema_version
            )));
        }
        match (shape.manifests.is_some(), shape.config.is_some()) {
            (true, _) => Ok(Self::Index(serde_json::from_slice(data).map_err(broken)?)),
            (false, true) => Ok(Self::Manifest(serde_json::from_slice(data).map_err(broken)?)),
            (false, false) => Err(Error::Failed(format!(
                "this is no image: its manifest is of type {}",
                shape.media_type.as_deref().unwrap_or("unknown")
            ))),
        }
    }

    /// The media type, also where the document leaves it out, as OCI allows.
    pub fn media_type(&self) -> String {
        let (given, default) = match self {
            Self::Manifest(manifest) => (manifest.media_type(), OCI_MANIFEST),
            Self::Index(index) => (index.media_type(), OCI_INDEX),
        };
        given.as_ref().map_or_else(|| default.to_owned(), ToString::to_string)
    }
}

/// The architecture of this host, as images name it.
pub fn architecture() -> Arch {
    match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "aarch64" => Arch::ARM64,
        other => Arch::from(other),
    }
}

/// The manifest in `index` that this host runs: linux on our architecture, or the only one whose
/// platform is not told.
pub fn choose(index: &ImageIndex) -> Option<&Descriptor> {
    let ours = index.manifests().iter().find(|entry| {
        entry
            .platform()
            .as_ref()
            .is_some_and(|platform| *platform.os() == Os::Linux && *platform.architecture() == architecture())
    });
    ours.or_else(|| match index.manifests().as_slice() {
        [only] if only.platform().is_none() => Some(only),
        _ => None,
    })
}

/// The labels of a manifest's blob: it keeps its configuration and its layers.
pub fn manifest_labels(manifest: &ImageManifest) -> HashMap<String, String> {
    let layers = manifest.layers().iter().enumerate();
    let layers = layers.map(|(at, layer)| (format!("containerd.io/gc.ref.content.l.{at}"), layer.digest().to_string()));
    let config = ("containerd.io/gc.ref.content.config".to_owned(), manifest.config().digest().to_string());
    layers.chain([config]).collect()
}

/// The labels of an index's blob: it keeps the manifest that is used here.
pub fn index_labels(chosen: &Descriptor) -> HashMap<String, String> {
    HashMap::from([("containerd.io/gc.ref.content.m.0".to_owned(), chosen.digest().to_string())])
}

/// The descriptor as containerd's API has it.
pub fn target(descriptor: &Descriptor) -> Target {
    Target {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor.digest().to_string(),
        size: i64::try_from(descriptor.size()).unwrap_or(i64::MAX),
        annotations: HashMap::new(),
    }
}

/// The descriptor of these bytes.
pub fn describe(media_type: &str, data: &[u8]) -> Result<Descriptor> {
    descriptor(media_type, &super::chain::digest(data), data.len() as u64)
}

/// The descriptor of a blob that is known by its digest.
pub fn descriptor(media_type: &str, digest: &str, size: u64) -> Result<Descriptor> {
    let digest: oci_spec::image::Digest =
        digest.parse().map_err(|error| Error::failed(format!("use {digest:?} as a digest"), error))?;
    Ok(Descriptor::new(MediaType::from(media_type), size, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: &str) -> String {
        super::super::chain::digest(of.as_bytes())
    }

    fn entry(of: &str, platform: &str) -> String {
        let (os, arch) = platform.split_once('/').unwrap();
        format!(
            r#"{{"mediaType":"{DOCKER_MANIFEST}","size":1,"digest":"{}","platform":{{"os":"{os}","architecture":"{arch}"}}}}"#,
            digest(of)
        )
    }

    fn index(entries: &[String]) -> ImageIndex {
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_LIST}","manifests":[{}]}}"#, entries.join(","));
        match Document::parse(text.as_bytes()).unwrap() {
            Document::Index(index) => index,
            Document::Manifest(_) => panic!("a manifest"),
        }
    }

    #[test]
    fn ours_is_chosen_from_a_list() {
        let ours = architecture().to_string();
        let list = index(&[
            entry("attestation", "unknown/unknown"),
            entry("s390x", "linux/s390x"),
            entry("windows", &format!("windows/{ours}")),
            entry("ours", &format!("linux/{ours}")),
        ]);
        assert_eq!(choose(&list).unwrap().digest().to_string(), digest("ours"));
        assert!(choose(&index(&[entry("s390x", "linux/s390x")])).is_none());
        let bare = format!(r#"{{"mediaType":"{OCI_MANIFEST}","size":1,"digest":"{}"}}"#, digest("bare"));
        assert_eq!(choose(&index(std::slice::from_ref(&bare))).unwrap().digest().to_string(), digest("bare"));
        assert!(choose(&index(&[bare.clone(), bare])).is_none());
    }

    #[test]
    fn a_manifest_keeps_its_parts() {
        let blob = |of: &str| format!(r#"{{"mediaType":"x/y","size":1,"digest":"{}"}}"#, digest(of));
        let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{},{}]}}"#, blob("c"), blob("0"), blob("1"));
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.media_type(), OCI_MANIFEST);
        let Document::Manifest(manifest) = document else { panic!("an index") };
        let labels = manifest_labels(&manifest);
        assert_eq!(labels.len(), 3);
        assert_eq!(labels["containerd.io/gc.ref.content.config"], digest("c"));
        assert_eq!(labels["containerd.io/gc.ref.content.l.1"], digest("1"));
    }

    #[test]
    fn what_is_no_image_is_told() {
        let message = |text: &str| Document::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(message(r#"{"schemaVersion":1,"fsLayers":[]}"#).contains("schema version 1"));
        assert!(message(r#"{"schemaVersion":2,"mediaType":"application/x"}"#).contains("application/x"));
        assert!(message("<html>").contains("manifest"));
    }
}
