//! Owns measuring what single pods use, when it matters who uses most.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::context::Context;
use crate::cri::{labels, v1};
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

/// Files and what they take of a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes of blocks.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

impl std::ops::Add for Space {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, inodes: self.inodes + other.inodes }
    }
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

/// What a folder takes of its disk, with all below it that is on the same one.
pub async fn measured(folder: PathBuf) -> Space {
    tokio::task::spawn_blocking(move || space(&folder)).await.unwrap_or_default()
}

fn space(folder: &Path) -> Space {
    let Ok(top) = rustix::fs::lstat(folder) else { return Space::default() };
    let mut total = Space::default();
    let mut left = vec![folder.to_owned()];
    let mut linked = std::collections::HashSet::new();
    while let Some(path) = left.pop() {
        let Ok(stat) = rustix::fs::lstat(&path) else { continue };
        if stat.st_dev != top.st_dev || (stat.st_nlink > 1 && !linked.insert(stat.st_ino)) {
            continue;
        }
        total = total + Space { bytes: u64::try_from(stat.st_blocks).unwrap_or_default() * 512, inodes: 1 };
        if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
            left.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_once_with_their_blocks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let before = space(folder.path());
        assert_eq!(before.inodes, 2);
        std::fs::write(folder.path().join("sub/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(folder.path().join("sub/file"), folder.path().join("again")).unwrap();
        let after = space(folder.path());
        assert_eq!(after.inodes, 3);
        assert!(after.bytes >= before.bytes + 100_000 && after.bytes < before.bytes + 200_000);
        assert_eq!(space(&folder.path().join("none")), Space::default());
    }

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
