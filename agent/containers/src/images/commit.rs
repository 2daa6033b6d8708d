//! `docker commit`: what a container changed becomes a layer, and with a configuration an image.

use std::collections::HashMap;
use std::time::SystemTime;

use bollard::models::ImageConfig;
use containerd_client::services::v1::DiffRequest;
use containerd_client::services::v1::snapshots::{
    MountsRequest, RemoveSnapshotRequest, StatSnapshotRequest, ViewSnapshotRequest,
};
use containerd_client::types::Mount;
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::lease::Lease;
use super::manifest::{self, UNCOMPRESSED_LABEL};
use super::{Image, Images, content, reference};
use crate::error::{Error, Result};

/// What is said of the new image.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// How it is run.
    pub config: ImageConfig,
    /// Who made it.
    pub author: String,
    /// Why.
    pub comment: String,
    /// What the container ran, for the history.
    pub command: String,
}

impl Images {
    /// Makes an image of `base` and what the snapshot changed upon it, unpacked; without a name it is
    /// found by its id.
    pub async fn commit(&self, base: &Image, snapshot: &str, commit: Commit, name: Option<&str>) -> Result<Image> {
        let name = name.map(reference::whole).transpose()?;
        if name.as_deref().is_some_and(reference::by_digest) {
            return Err(Error::Invalid("an image is not made under a digest: give a tag".to_owned()));
        }
        let lease = Lease::new(&self.containerd).await?;
        let committed = self.commit_leased(&lease, base, snapshot, &commit).await;
        let target = match committed {
            Ok(target) => target,
            Err(error) => {
                lease.release(true).await.ok();
                return Err(error);
            }
        };
        let digest = target.digest().to_string();
        self.set_name(&name.unwrap_or_else(|| reference::dangling(&digest)), &target).await?;
        lease.release(false).await?;
        let id = self.details(&digest).await?.id.clone();
        self.find(&id).await
    }

    async fn commit_leased(&self, lease: &Lease, base: &Image, snapshot: &str, commit: &Commit) -> Result<Descriptor> {
        let containerd = lease.containerd();
        let (layer, diff) = self.changes_as_layer(lease, snapshot).await?;
        let details = self.details(&base.digest).await?;
        let old: Value = serde_json::from_slice(&content::read(containerd, &details.id).await?)
            .map_err(|error| Error::failed("read the image's configuration", error))?;
        let now = Timestamp::from(SystemTime::now()).to_string();
        let config = configuration(old, &diff, commit, &now)?.to_string();
        let media_type = MediaType::ImageConfig.to_string();
        let config = content::write(containerd, &media_type, config.as_bytes(), HashMap::new()).await?;
        let manifest = grown(&details.manifest, config, layer)?;
        let data = serde_json::to_vec(&manifest).map_err(|error| Error::failed("write a manifest", error))?;
        let labels = manifest::manifest_labels(&manifest);
        let target = content::write(containerd, manifest::OCI_MANIFEST, &data, labels).await?;
        let details = super::details::Details::read(containerd, target.digest().as_ref()).await?;
        self.unpack(lease, &details, |_| {}).await?;
        Ok(target)
    }

    /// What a snapshot changed, as a compressed layer, and the digest of its tar.
    async fn changes_as_layer(&self, lease: &Lease, snapshot: &str) -> Result<(Descriptor, String)> {
        let containerd = lease.containerd();
        let snapshotter = || self.snapshotter.clone();
        let stat = StatSnapshotRequest { snapshotter: snapshotter(), key: snapshot.to_owned() };
        let info = containerd.snapshots().stat(stat).await?.into_inner().info.unwrap_or_default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let view = format!("commit-{now}-{snapshot}");
        let request = ViewSnapshotRequest {
            snapshotter: snapshotter(),
            key: view.clone(),
            parent: info.parent,
            labels: HashMap::new(),
        };
        let left = containerd.snapshots().view(request).await?.into_inner().mounts;
        let mounts = MountsRequest { snapshotter: snapshotter(), key: snapshot.to_owned() };
        let layer = match containerd.snapshots().mounts(mounts).await {
            Ok(right) => self.difference(lease, left, right.into_inner().mounts, &view).await,
            Err(status) => Err(status.into()),
        };
        containerd.snapshots().remove(RemoveSnapshotRequest { snapshotter: snapshotter(), key: view }).await.ok();
        layer
    }

    async fn difference(
        &self,
        lease: &Lease,
        left: Vec<Mount>,
        right: Vec<Mount>,
        reference: &str,
    ) -> Result<(Descriptor, String)> {
        let request = DiffRequest {
            left,
            right,
            media_type: MediaType::ImageLayerGzip.to_string(),
            r#ref: reference.to_owned(),
            ..DiffRequest::default()
        };
        let layer = lease
            .containerd()
            .diff()
            .diff(request)
            .await
            .map_err(|status| Error::failed("make a layer of what the container changed", status.message()))?;
        let layer = layer.into_inner().diff.unwrap_or_default();
        let info = content::info(lease.containerd(), &layer.digest).await?.unwrap_or_default();
        let diff = info.labels.get(UNCOMPRESSED_LABEL).cloned();
        let diff =
            diff.ok_or_else(|| Error::failed("make a layer", "containerd does not tell the digest of its tar"))?;
        let size = u64::try_from(layer.size).unwrap_or_default();
        Ok((manifest::descriptor(&layer.media_type, &layer.digest, size)?, diff))
    }
}

/// The old configuration with one more layer, and what is new.
fn configuration(mut old: Value, diff: &str, commit: &Commit, now: &str) -> Result<Value> {
    let broken = || Error::Failed("the image's configuration does not tell of its layers".to_owned());
    old["rootfs"]["diff_ids"].as_array_mut().ok_or_else(broken)?.push(diff.into());
    let mut item = json!({ "created": now, "created_by": commit.command });
    for (key, text) in [("author", &commit.author), ("comment", &commit.comment)] {
        if !text.is_empty() {
            item[key] = text.as_str().into();
        }
    }
    match old["history"].as_array_mut() {
        Some(history) => history.push(item),
        None => old["history"] = json!([item]),
    }
    old["created"] = now.into();
    old["author"] = commit.author.as_str().into();
    old["comment"] = commit.comment.as_str().into();
    old["config"] =
        serde_json::to_value(&commit.config).map_err(|error| Error::failed("write a configuration", error))?;
    // These tell of another container.
    for gone in ["container", "container_config", "parent", "id"] {
        old.as_object_mut().ok_or_else(broken)?.remove(gone);
    }
    Ok(old)
}

/// The manifest with one more layer, all in OCI's terms.
fn grown(manifest: &ImageManifest, config: Descriptor, layer: Descriptor) -> Result<ImageManifest> {
    let mut layers: Vec<Descriptor> = manifest.layers().clone();
    for layer in &mut layers {
        layer.set_media_type(in_oci_terms(layer.media_type()));
    }
    layers.push(layer);
    ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(layers)
        .build()
        .map_err(|error| Error::failed("make a manifest", error))
}

fn in_oci_terms(media_type: &MediaType) -> MediaType {
    match media_type.as_ref() {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => MediaType::ImageLayerGzip,
        "application/vnd.docker.image.rootfs.diff.tar" => MediaType::ImageLayer,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => MediaType::ImageLayerZstd,
        _ => media_type.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_keeps_what_it_has_and_tells_of_the_layer() {
        let old = json!({
            "architecture": "amd64", "os": "linux", "variant": "v3", "container": "x",
            "rootfs": { "type": "layers", "diff_ids": ["sha256:1"] },
            "history": [{ "created_by": "ADD" }],
            "config": { "Cmd": ["old"] },
        });
        let config = ImageConfig { cmd: Some(vec!["new".to_owned()]), ..ImageConfig::default() };
        let commit = Commit { config, author: "me".to_owned(), comment: String::new(), command: "sh -c x".to_owned() };
        let new = configuration(old, "sha256:2", &commit, "2030-01-01T00:00:00Z").unwrap();
        assert_eq!(new["rootfs"]["diff_ids"], json!(["sha256:1", "sha256:2"]));
        assert_eq!(
            new["history"][1],
            json!({ "created": "2030-01-01T00:00:00Z", "created_by": "sh -c x", "author": "me" })
        );
        assert_eq!((&new["variant"], &new["config"]), (&json!("v3"), &json!({ "Cmd": ["new"] })));
        assert!(new.get("container").is_none());
        assert!(configuration(json!({}), "sha256:2", &commit, "").is_err());
    }

    #[test]
    fn dockers_layers_become_ocis() {
        let docker = MediaType::Other("application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned());
        assert_eq!(in_oci_terms(&docker), MediaType::ImageLayerGzip);
        assert_eq!(in_oci_terms(&MediaType::ImageLayerZstd), MediaType::ImageLayerZstd);
    }
}
