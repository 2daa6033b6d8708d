//! `docker load`: images from a docker-archive or an OCI layout in a tar.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;

use super::archive::{self, Archive};
use super::content::{self, Ingested};
use super::details::{Details, no_platform};
use super::lease::Lease;
use super::manifest::{self, Document};
use super::{Images, reference};
use crate::error::{Error, Result};

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// It has this name.
    Name(String),
    /// It has no name, only this id.
    Id(String),
}

/// An image of Docker's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// What is to get which names.
struct Found {
    target: Descriptor,
    names: Vec<String>,
}

impl Images {
    /// Takes all images from an archive; `layer` is told of each layer once it is unpacked.
    pub async fn load(
        &self,
        stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        layer: impl Fn(&Descriptor) + Send + Sync,
    ) -> Result<Vec<Loaded>> {
        let lease = Lease::new(&self.containerd).await?;
        let loaded = self.load_leased(&lease, stream, layer).await;
        lease.release(loaded.is_err()).await?;
        loaded
    }

    async fn load_leased(
        &self,
        lease: &Lease,
        stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        layer: impl Fn(&Descriptor) + Send + Sync,
    ) -> Result<Vec<Loaded>> {
        let archive = archive::read(lease.containerd(), stream).await?;
        let found = match (archive.documents.get("index.json"), archive.documents.get("manifest.json")) {
            (Some(index), _) if archive.documents.contains_key("oci-layout") => layout(lease, index).await?,
            (_, Some(items)) => docker(lease, &archive, items).await?,
            _ => {
                let message =
                    "this is no archive of images: it has neither manifest.json nor an OCI layout's index.json";
                return Err(Error::Invalid(message.to_owned()));
            }
        };
        let mut loaded = Vec::new();
        for Found { target, names } in found {
            let details = Arc::new(Details::read(lease.containerd(), target.digest().as_ref()).await?);
            self.unpack(lease, &details, &layer).await?;
            if names.is_empty() {
                self.keep_loaded(&target).await?;
                loaded.push(Loaded::Id(details.id.clone()));
            }
            for name in names {
                self.set_name(&name, &target).await?;
                loaded.push(Loaded::Name(reference::familiar(&name).to_owned()));
            }
            self.tell("load", &details.id, None);
        }
        Ok(loaded)
    }

    async fn keep_loaded(&self, target: &Descriptor) -> Result<()> {
        let digest = target.digest().to_string();
        if self.list_named().await?.iter().any(|named| super::digest_of(named) == digest) {
            return Ok(());
        }
        self.set_name(&reference::dangling(&digest), target).await
    }
}

/// The images of a docker-archive: their manifests are made here.
async fn docker(lease: &Lease, archive: &Archive, items: &[u8]) -> Result<Vec<Found>> {
    let items: Vec<Item> = serde_json::from_slice(items)
        .map_err(|error| Error::Invalid(format!("the archive's manifest.json cannot be read: {error}")))?;
    let mut found = Vec::new();
    for item in items {
        let config = archive.blob(&item.config)?;
        let layers = item.layers.iter().map(|path| archive.blob(path)).collect::<Result<Vec<_>>>()?;
        let manifest = made_manifest(config, &layers)?;
        let data = serde_json::to_vec(&manifest).map_err(|error| Error::failed("write a manifest", error))?;
        let labels = manifest::manifest_labels(&manifest);
        let target = content::write(lease.containerd(), manifest::OCI_MANIFEST, &data, labels).await?;
        let names = item.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| reference::whole(name)).collect::<Result<Vec<_>>>()?;
        found.push(Found { target, names });
    }
    Ok(found)
}

fn made_manifest(config: &Ingested, layers: &[&Ingested]) -> Result<ImageManifest> {
    let describe =
        |media_type: MediaType, blob: &Ingested| manifest::descriptor(media_type.as_ref(), &blob.digest, blob.size);
    let layers = layers.iter().map(|layer| describe(layer_type(layer.magic), layer)).collect::<Result<Vec<_>>>()?;
    oci_spec::image::ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(describe(MediaType::ImageConfig, config)?)
        .layers(layers)
        .build()
        .map_err(|error| Error::failed("make a manifest", error))
}

/// The media type of a layer, by its first bytes.
fn layer_type(magic: [u8; 4]) -> MediaType {
    match magic {
        [0x1f, 0x8b, ..] => MediaType::ImageLayerGzip,
        [0x28, 0xb5, 0x2f, 0xfd] => MediaType::ImageLayerZstd,
        _ => MediaType::ImageLayer,
    }
}

/// The images of an OCI layout: each entry of its index, with labels down to the layers.
async fn layout(lease: &Lease, index: &[u8]) -> Result<Vec<Found>> {
    let index: ImageIndex = serde_json::from_slice(index)
        .map_err(|error| Error::Invalid(format!("the archive's index.json cannot be read: {error}")))?;
    let mut found: Vec<Found> = Vec::new();
    for entry in index.manifests() {
        if entry.platform().is_some() && manifest::choose(&only(entry)?).is_none() {
            continue;
        }
        label_down(lease, entry).await?;
        let name = name_of(entry.annotations().as_ref());
        match found.iter_mut().find(|found| found.target.digest() == entry.digest()) {
            Some(found) => found.names.extend(name),
            None => found.push(Found { target: entry.clone(), names: name.into_iter().collect() }),
        }
    }
    if found.is_empty() { Err(no_platform()) } else { Ok(found) }
}

fn only(entry: &Descriptor) -> Result<ImageIndex> {
    oci_spec::image::ImageIndexBuilder::default()
        .schema_version(2_u32)
        .manifests(vec![entry.clone()])
        .build()
        .map_err(|error| Error::failed("read an index", error))
}

async fn label_down(lease: &Lease, entry: &Descriptor) -> Result<()> {
    let containerd = lease.containerd();
    let mut digest = entry.digest().to_string();
    let mut document = Document::parse(&content::read(containerd, &digest).await?)?;
    if let Document::Index(index) = &document {
        let chosen = manifest::choose(index).ok_or_else(no_platform)?;
        content::label(containerd, &digest, manifest::index_labels(chosen)).await?;
        digest = chosen.digest().to_string();
        document = Document::parse(&content::read(containerd, &digest).await?)?;
    }
    match document {
        Document::Manifest(manifest) => content::label(containerd, &digest, manifest::manifest_labels(&manifest)).await,
        Document::Index(_) => Err(Error::Invalid("the archive has an index within an index".to_owned())),
    }
}

/// The name in an entry's annotations: containerd's is whole; OCI's may be no more than a tag.
pub(super) fn name_of(annotations: Option<&HashMap<String, String>>) -> Option<String> {
    let annotations = annotations?;
    let whole = annotations.get("io.containerd.image.name");
    let short = annotations.get("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']));
    whole.or(short).and_then(|name| reference::whole(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_known_by_their_first_bytes() {
        assert_eq!(layer_type([0x1f, 0x8b, 8, 0]), MediaType::ImageLayerGzip);
        assert_eq!(layer_type([0x28, 0xb5, 0x2f, 0xfd]), MediaType::ImageLayerZstd);
        assert_eq!(layer_type(*b"bin/"), MediaType::ImageLayer);
    }

    #[test]
    fn a_bare_tag_is_no_name() {
        let name = |key: &str, value: &str| name_of(Some(&HashMap::from([(key.to_owned(), value.to_owned())])));
        let reference = "org.opencontainers.image.ref.name";
        assert_eq!(name(reference, "latest"), None);
        assert_eq!(name(reference, "busybox:1").as_deref(), Some("docker.io/library/busybox:1"));
        assert_eq!(name("io.containerd.image.name", "docker.io/a/b:1").as_deref(), Some("docker.io/a/b:1"));
        assert_eq!(name_of(None), None);
    }

    #[test]
    fn docker_items_are_read() {
        let text = r#"[{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar"]}]"#;
        let items: Vec<Item> = serde_json::from_str(text).unwrap();
        assert_eq!(
            (items[0].config.as_str(), items[0].layers.len(), items[0].repo_tags.is_none()),
            ("c.json", 1, true)
        );
    }
}
