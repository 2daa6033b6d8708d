//! Owns measuring what single pods use, when it matters who uses most.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::context::Context;
use crate::cri::{labels, v1};
use crate::disk::{Space, measured};
use crate::pods::PodView;

use super::decide::Resource;

/// What a pod uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// Of the resource asked about: bytes, or how many.
    pub total: u64,
    /// By container, where that is known.
    pub containers: Vec<(String, u64)>,
}

/// What pods use of a resource, by UID; who is missing could not be measured. `images`: whether only
/// what containers write counts, or only the rest, where these are on disks of their own.
pub async fn measure(
    context: &Context,
    pods: &[Arc<PodView>],
    resource: Resource,
    images: Option<bool>,
) -> HashMap<String, Used> {
    let containers = containers(context, None).await;
    let mut used = HashMap::new();
    for pod in pods {
        let uid = pod.uid();
        let own = containers.get(uid).map_or(&[][..], Vec::as_slice);
        let of = match resource {
            Resource::Memory => memory(context, uid, own),
            Resource::Pids => context.cgroups.tasks(uid).map(|total| Used { total, containers: Vec::new() }),
            Resource::Disk | Resource::Inodes => Some(disk(context, pod, own, resource, images).await),
        };
        used.extend(of.map(|of| (uid.to_owned(), of)));
    }
    used
}

fn memory(context: &Context, uid: &str, containers: &[ContainerUse]) -> Option<Used> {
    let named: Vec<_> = containers.iter().map(|c| (c.name.clone(), c.memory)).collect();
    let sum = (!named.is_empty()).then(|| named.iter().map(|(_, memory)| memory).sum());
    Some(Used { total: context.cgroups.memory(uid).or(sum)?, containers: named })
}

async fn disk(
    context: &Context,
    pod: &PodView,
    containers: &[ContainerUse],
    resource: Resource,
    images: Option<bool>,
) -> Used {
    let of = |space: Space| if resource == Resource::Inodes { space.inodes } else { space.bytes };
    let (written, rest) = (images != Some(false), images != Some(true));
    let mut used = Used::default();
    for container in containers {
        let log = log_folder(pod, &container.name).filter(|_| rest);
        let logs = match log {
            Some(folder) => measured(folder).await,
            None => Space::default(),
        };
        let layer = if written { container.written } else { Space::default() };
        used.containers.push((container.name.clone(), of(logs + layer)));
    }
    used.total = used.containers.iter().map(|(_, used)| used).sum();
    if rest {
        used.total += of(measured(volumes(context, pod.uid())).await);
    }
    used
}

/// Where a pod's emptyDir volumes are.
pub fn volumes(context: &Context, uid: &str) -> PathBuf {
    context.settings.root.join("pods").join(uid).join("volumes").join("kubernetes.io~empty-dir")
}

/// Where a container's logs are.
pub fn log_folder(pod: &PodView, container: &str) -> Option<PathBuf> {
    pod.container(container)?.log.parent().map(Path::to_owned)
}

/// What a container uses, as containerd says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUse {
    /// Its name.
    pub name: String,
    /// Bytes of its working set.
    pub memory: u64,
    /// What it has written into its root file system.
    pub written: Space,
}

/// The containers' use by pod UID, of one pod or of all.
pub async fn containers(context: &Context, uid: Option<&str>) -> HashMap<String, Vec<ContainerUse>> {
    let filter = uid.map(|uid| v1::ContainerStatsFilter {
        label_selector: HashMap::from([(labels::POD_UID.to_owned(), uid.to_owned())]),
        ..Default::default()
    });
    let stats = match context.cri.list_container_stats(v1::ListContainerStatsRequest { filter }).await {
        Ok(answer) => answer.stats,
        Err(error) => {
            tracing::debug!("cannot ask containerd what containers use: {error}");
            return HashMap::new();
        }
    };
    let mut pods: HashMap<String, Vec<ContainerUse>> = HashMap::new();
    for stats in stats {
        if let Some((uid, container)) = read(stats) {
            pods.entry(uid).or_default().push(container);
        }
    }
    pods
}

fn read(stats: v1::ContainerStats) -> Option<(String, ContainerUse)> {
    let mut of = stats.attributes?.labels;
    let value = |value: Option<v1::UInt64Value>| value.map_or(0, |value| value.value);
    let written = stats.writable_layer.map_or_else(Space::default, |layer| Space {
        bytes: value(layer.used_bytes),
        inodes: value(layer.inodes_used),
    });
    let memory = stats.memory.map_or(0, |memory| value(memory.working_set_bytes));
    Some((of.remove(labels::POD_UID)?, ContainerUse { name: of.remove(labels::CONTAINER_NAME)?, memory, written }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_apart_by_labels() {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let labels = HashMap::from([label(labels::POD_UID, "u"), label(labels::CONTAINER_NAME, "c")]);
        let stats = v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes { labels, ..Default::default() }),
            memory: Some(v1::MemoryUsage {
                working_set_bytes: Some(v1::UInt64Value { value: 7 }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let (uid, container) = read(stats).unwrap();
        assert_eq!(uid, "u");
        assert_eq!(container, ContainerUse { name: "c".to_owned(), memory: 7, written: Space::default() });
        assert_eq!(read(v1::ContainerStats::default()), None);
    }
}
