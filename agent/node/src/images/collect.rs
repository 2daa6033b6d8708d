//! Owns garbage collection of images: those that nobody used for longest go first when the disk fills.

mod decide;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Images;
use super::reference::Reference;
use crate::cri::{CriError, v1};
use crate::events::Kind;
use crate::pods::PodView;
pub(super) use decide::Ages;
use decide::{Candidate, Disk};

/// How often images and the disk are looked at.
const PERIOD: Duration = Duration::from_secs(300);

/// When images go.
#[derive(Debug, Clone)]
pub struct Policy {
    /// From this part of the disk in use on, in percent, images are removed ...
    pub high: u64,
    /// ... until it is this.
    pub low: u64,
    /// For so long an image is kept in any case: it may have been pulled for a container that is yet to be.
    pub young: Duration,
    /// After so long without use it goes in any case.
    pub old: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { high: 85, low: 80, young: Duration::from_secs(120), old: None }
    }
}

impl Images {
    /// Looks at images and the disk every few minutes, for ever. To be run once, beside everything else.
    pub async fn run(&self, policy: Policy) {
        loop {
            if let Err(error) = self.collect(&policy).await {
                tracing::warn!("cannot collect images: {error}");
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Removes all images that nobody uses, however young; gives the bytes that they took. For eviction,
    /// before pods must go.
    pub async fn remove_unused(&self) -> Result<u64, CriError> {
        let unused = self.unused().await?;
        Ok(self.remove(&unused, u64::MAX).await)
    }

    async fn collect(&self, policy: &Policy) -> Result<(), CriError> {
        let unused = self.unused().await?;
        let (old, rest) = decide::by_age(unused, policy, Instant::now());
        self.remove(&old, u64::MAX).await;
        let info = self.context.cri.image_fs_info(v1::ImageFsInfoRequest {}).await?;
        let Some(disk) = info.image_filesystems.iter().find_map(disk) else { return Ok(()) };
        let Some(excess) = decide::excess(disk, policy) else { return Ok(()) };
        tracing::info!(used = disk.percent(), excess, "the disk of images is full: removing unused ones");
        let removable = decide::old_enough(rest, policy, Instant::now());
        let freed = self.remove(&removable, excess).await;
        if freed < excess {
            self.complain(disk, freed);
        }
        Ok(())
    }

    /// What could go, what was not used for longest first.
    async fn unused(&self) -> Result<Vec<Candidate>, CriError> {
        let cri = &self.context.cri;
        let images = cri.list_images(v1::ListImagesRequest::default()).await?.images;
        let containers = cri.containers(None).await?;
        let mut used: HashSet<String> = containers.iter().flat_map(decide::names_of).collect();
        used.extend(wanted(&self.context.pods.list(), self.context.settings.pause_image.as_deref()));
        Ok(self.ages.lock().await.look(images, &used, Instant::now()))
    }

    /// Removes images until so many bytes are free again; gives how many were.
    async fn remove(&self, images: &[Candidate], enough: u64) -> u64 {
        let mut freed = 0;
        for image in images {
            if freed >= enough {
                break;
            }
            let spec = v1::ImageSpec { image: image.id.clone(), ..Default::default() };
            match self.context.cri.remove_image(v1::RemoveImageRequest { image: Some(spec) }).await {
                Ok(_) => {
                    tracing::info!(image = image.name, size = image.size, "removed an image");
                    freed += image.size;
                }
                Err(error) => tracing::warn!(image = image.name, "cannot remove an image: {error}"),
            }
        }
        freed
    }

    fn complain(&self, disk: Disk, freed: u64) {
        let node: Option<Arc<_>> = self.context.node.borrow().clone();
        let message = format!(
            "Insufficient free disk space on the node's image filesystem ({}% of {} bytes used). \
             Failed to free sufficient space by deleting unused images (freed {freed} bytes). \
             Investigate disk usage, as it could be used by active images, logs, volumes, or other data.",
            disk.percent(),
            disk.capacity
        );
        match node {
            Some(node) => self.context.events.node(&node, Kind::Warning, "FreeDiskSpaceFailed", message),
            None => tracing::warn!("{message}"),
        }
    }
}

/// Images that pods name, also where the container is yet to be made; and the pause image. A pod that is
/// over makes none.
fn wanted(pods: &[Arc<PodView>], pause: Option<&str>) -> HashSet<String> {
    let specs = pods.iter().filter(|view| !view.is_over()).filter_map(|view| view.pod.spec.as_ref());
    let images = specs.flat_map(|spec| {
        let own = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.image.as_ref());
        own.filter_map(|container| container.image.as_deref())
            .chain(volumes.filter_map(|image| image.reference.as_deref()))
            .chain(ephemeral.filter_map(|container| container.image.as_deref()))
    });
    images.chain(pause).filter_map(|image| Some(Reference::parse(image).ok()?.listed())).collect()
}

/// The disk that a filesystem of images is on.
fn disk(usage: &v1::FilesystemUsage) -> Option<Disk> {
    let path = &usage.fs_id.as_ref()?.mountpoint;
    match rustix::fs::statvfs(path.as_str()) {
        Ok(stat) => Some(Disk { capacity: stat.f_blocks * stat.f_frsize, available: stat.f_bavail * stat.f_frsize }),
        Err(error) => {
            tracing::warn!(path, "cannot see how full the disk of images is: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, PodStatus};
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_over_needs_no_image() {
        let view = |image: &str, phase: &str| {
            let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [{ "name": "a", "image": image }],
                "volumes": [{ "name": "v", "image": { "reference": format!("{image}-data") } }] } }))
            .unwrap();
            Arc::new(PodView::of(pod, PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() }))
        };
        let pods = [view("r.example/a:1", "Pending"), view("r.example/b:1", "Failed")];
        let mut wanted: Vec<String> = wanted(&pods, Some("r.example/pause:1")).into_iter().collect();
        wanted.sort();
        assert_eq!(wanted, ["r.example/a:1", "r.example/a:1-data", "r.example/pause:1"]);
    }
}
