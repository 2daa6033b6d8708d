//! Layers to snapshots: each is applied by containerd's diff service upon the one below it.

use std::collections::HashMap;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest, UsageRequest,
};
use containerd_client::tonic::{Code, Status};
use oci_spec::image::Descriptor;

use super::chain;
use super::content;
use super::lease::Lease;
use super::manifest::{SNAPSHOT_LABEL, UNCOMPRESSED_LABEL, target};
use crate::containerd::Containerd;
use crate::error::{Error, Result};

/// One layer to unpack.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The layer as it is stored.
    pub layer: &'a Descriptor,
    /// The digest of its tar.
    pub diff: &'a str,
    /// The snapshot below; empty for the first.
    pub parent: &'a str,
    /// The snapshot to make.
    pub chain: &'a str,
}

/// Unpacks one layer, where that is not done already.
pub async fn step(lease: &Lease, snapshotter: &str, step: Step<'_>) -> Result<()> {
    let containerd = lease.containerd();
    if exists(containerd, snapshotter, step.chain).await? {
        return lease.keep_snapshot(snapshotter, step.chain).await;
    }
    let key = working_key(step.chain);
    match apply(containerd, snapshotter, &key, step).await {
        Ok(()) => Ok(()),
        Err(error) => {
            remove(containerd, snapshotter, &key).await;
            // Another one made it meanwhile.
            if matches!(error, Error::Conflict(_)) && exists(containerd, snapshotter, step.chain).await? {
                return lease.keep_snapshot(snapshotter, step.chain).await;
            }
            Err(error)
        }
    }
}

async fn apply(containerd: &Containerd, snapshotter: &str, key: &str, step: Step<'_>) -> Result<()> {
    let mut snapshots = containerd.snapshots();
    let prepare = PrepareSnapshotRequest {
        snapshotter: snapshotter.to_owned(),
        key: key.to_owned(),
        parent: step.parent.to_owned(),
        labels: HashMap::new(),
    };
    let mounts = snapshots.prepare(prepare).await?.into_inner().mounts;
    // On the disk before the snapshot is told of: after a power cut it would be there with empty files.
    let apply = ApplyRequest { diff: Some(target(step.layer)), mounts, payloads: HashMap::new(), sync_fs: true };
    let applied = containerd.diff().apply(apply).await.map_err(|status| unpacked(step.layer, &status))?;
    let applied = applied.into_inner().applied.map(|applied| applied.digest).unwrap_or_default();
    if applied != step.diff {
        return Err(Error::Failed(format!(
            "wrong digest: layer {} unpacks to {applied}, but the image's configuration says {}",
            step.layer.digest(),
            step.diff
        )));
    }
    let commit = CommitSnapshotRequest {
        snapshotter: snapshotter.to_owned(),
        name: step.chain.to_owned(),
        key: key.to_owned(),
        labels: HashMap::new(),
    };
    snapshots.commit(commit).await?;
    let labels = HashMap::from([(UNCOMPRESSED_LABEL.to_owned(), step.diff.to_owned())]);
    content::label(containerd, step.layer.digest().as_ref(), labels).await
}

fn unpacked(layer: &Descriptor, status: &Status) -> Error {
    let message = status.message();
    if message.contains("no space left on device") {
        return Error::Failed(format!(
            "the disk with containerd's snapshots is full (no space left on device) while unpacking {}: \
             remove images with 'keelctl image prune', or make room",
            layer.digest()
        ));
    }
    Error::failed(format!("unpack layer {}", layer.digest()), message)
}

/// A key of its own for every attempt, so that one that broke off is in no other's way.
fn working_key(chain: &str) -> String {
    format!("extract-{} {chain}", content::unique())
}

/// Whether there is such a snapshot.
pub async fn exists(containerd: &Containerd, snapshotter: &str, key: &str) -> Result<bool> {
    let request = StatSnapshotRequest { snapshotter: snapshotter.to_owned(), key: key.to_owned() };
    match containerd.snapshots().stat(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

/// Bytes that these snapshots take.
pub async fn size(containerd: &Containerd, snapshotter: &str, chains: &[String]) -> Result<i64> {
    let mut size = 0;
    for key in chains {
        let request = UsageRequest { snapshotter: snapshotter.to_owned(), key: key.clone() };
        match containerd.snapshots().usage(request).await {
            Ok(usage) => size += usage.into_inner().size,
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
    }
    Ok(size)
}

async fn remove(containerd: &Containerd, snapshotter: &str, key: &str) {
    let request = RemoveSnapshotRequest { snapshotter: snapshotter.to_owned(), key: key.to_owned() };
    if let Err(status) = containerd.snapshots().remove(request).await {
        tracing::debug!(%status, key, "an unfinished snapshot is left to the garbage collector");
    }
}

/// Whether a configuration tells of as many layers as the manifest has.
pub fn fits(layers: &[Descriptor], diffs: &[String]) -> Result<()> {
    if layers.len() == diffs.len() {
        return Ok(());
    }
    Err(Error::Failed(format!("the image has {} layers, but its configuration tells of {}", layers.len(), diffs.len())))
}

/// Unpacks all `layers` whose tars are `diffs`, and makes the configuration keep the result. Tells
/// of each layer when it is done.
pub async fn all(
    lease: &Lease,
    snapshotter: &str,
    config: &str,
    layers: &[Descriptor],
    diffs: &[String],
    done: impl Fn(&Descriptor) + Sync,
) -> Result<()> {
    fits(layers, diffs)?;
    let chains = chain::chain_ids(diffs);
    let mut parent = "";
    for ((layer, diff), chain) in layers.iter().zip(diffs).zip(&chains) {
        step(lease, snapshotter, Step { layer, diff, parent, chain }).await?;
        done(layer);
        parent = chain;
    }
    keep(lease.containerd(), snapshotter, config, parent).await
}

/// Makes a configuration keep the snapshot `chain`.
pub async fn keep(containerd: &Containerd, snapshotter: &str, config: &str, chain: &str) -> Result<()> {
    if chain.is_empty() {
        return Ok(());
    }
    let labels = HashMap::from([(format!("{SNAPSHOT_LABEL}{snapshotter}"), chain.to_owned())]);
    content::label(containerd, config, labels).await
}
