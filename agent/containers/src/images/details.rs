//! What a name's target leads to: manifest, configuration, layers.

use std::sync::Arc;

use bollard::models::ImageConfig;
use containerd_client::services::v1::Image as Named;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};
use serde::Deserialize;

use super::manifest::{self, Document};
use super::{Image, chain, content, unpack};
use crate::containerd::Containerd;
use crate::error::{Error, Result};

/// What is known of an image but its names: all of it follows from the digest of its target.
#[derive(Debug)]
pub struct Details {
    /// The digest of the configuration.
    pub id: String,
    /// The manifest for this host, as it is described.
    pub manifest_descriptor: Descriptor,
    /// The manifest for this host.
    pub manifest: ImageManifest,
    /// The configuration.
    pub config: Arc<ImageConfiguration>,
    /// Its part about running, with what Docker has beyond OCI.
    pub docker: Arc<ImageConfig>,
    /// The comment of its last commit.
    pub comment: Option<String>,
    /// The chain ids of its layers.
    pub chains: Vec<String>,
}

/// What only Docker's configurations have.
#[derive(Default, Deserialize)]
struct Extra {
    #[serde(default)]
    config: Option<ImageConfig>,
    #[serde(default)]
    comment: Option<String>,
}

impl Details {
    /// Reads all of them from the content store.
    pub async fn read(containerd: &Containerd, target: &str) -> Result<Self> {
        let data = content::read(containerd, target).await?;
        let (document, data, digest) = match Document::parse(&data)? {
            Document::Index(index) => {
                let chosen = manifest::choose(&index).ok_or_else(no_platform)?.digest().to_string();
                let data = content::read(containerd, &chosen).await?;
                (Document::parse(&data)?, data, chosen)
            }
            document => (document, data, target.to_owned()),
        };
        let media_type = document.media_type();
        let Document::Manifest(manifest) = document else {
            return Err(Error::failed("read the image", "an index within an index"));
        };
        let manifest_descriptor = manifest::descriptor(&media_type, &digest, data.len() as u64)?;
        let config = content::read(containerd, manifest.config().digest().as_ref()).await?;
        Self::parse(manifest_descriptor, manifest, &config)
    }

    /// Puts together what is read already.
    pub fn parse(manifest_descriptor: Descriptor, manifest: ImageManifest, config: &[u8]) -> Result<Self> {
        let id = manifest.config().digest().to_string();
        let broken = |error| Error::failed(format!("read the image's configuration {id}"), error);
        let parsed: ImageConfiguration = serde_json::from_slice(config).map_err(broken)?;
        let extra: Extra = serde_json::from_slice(config).map_err(broken)?;
        Ok(Self {
            chains: chain::chain_ids(parsed.rootfs().diff_ids()),
            id,
            manifest_descriptor,
            manifest,
            config: Arc::new(parsed),
            docker: Arc::new(extra.config.unwrap_or_default()),
            comment: extra.comment.filter(|comment| !comment.is_empty()),
        })
    }

    /// The snapshot its layers make; empty for an image without layers.
    pub fn chain(&self) -> &str {
        self.chains.last().map_or("", String::as_str)
    }

    /// The image under `names`.
    pub async fn image(&self, containerd: &Containerd, snapshotter: &str, named: &[&Named]) -> Result<Image> {
        let digest = named.first().and_then(|named| named.target.as_ref()).map(|target| target.digest.clone());
        Ok(Image {
            id: self.id.clone(),
            digest: digest.unwrap_or_else(|| self.manifest_descriptor.digest().to_string()),
            manifest: self.manifest_descriptor.digest().to_string(),
            names: named
                .iter()
                .map(|named| named.name.clone())
                .filter(|name| !super::reference::is_dangling(name))
                .collect(),
            config: self.config.clone(),
            docker: self.docker.clone(),
            chain: self.chain().to_owned(),
            size: unpack::size(containerd, snapshotter, &self.chains).await?,
        })
    }
}

/// There is nothing for us in an index.
pub fn no_platform() -> Error {
    Error::NotFound(format!("no matching manifest for linux/{} in the manifest list entries", manifest::architecture()))
}
