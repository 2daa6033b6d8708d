//! Owns what pods take of the disk: volumes, logs and the layers that containers write to; and
//! [`pod_usage`], by which eviction ranks pods.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::sample::{self, Snapshot};
use crate::context::Context;
use crate::cri::v1;
use crate::pods::PodView;

/// What a folder takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes, by blocks.
    pub bytes: u64,
    /// Inodes; a file with several names counts once.
    pub inodes: u64,
}

impl std::ops::AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

/// What a pod uses of what nodes run out of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// The pod's UID.
    pub uid: String,
    /// Its working set, bytes.
    pub memory: u64,
    /// What it takes of the disk: layers, logs, `emptyDir` volumes that are not in memory.
    pub storage: Size,
    /// Of each container, layer and logs, bytes.
    pub containers: BTreeMap<String, u64>,
    /// Of each `emptyDir` volume, also those in memory, bytes.
    pub empty_dirs: BTreeMap<String, u64>,
    /// Threads in it.
    pub pids: u64,
}

/// What each pod uses now. Walks `emptyDir` volumes and asks containerd for layers: not for every second.
pub async fn pod_usage(context: &Context) -> Vec<PodUsage> {
    super::node::image_fs(context).await;
    let layers = layers(context).await;
    let snapshot = sample::collect(context).await;
    let root = context.settings.root.clone();
    let pods = context.pods.list();
    let measured = tokio::task::spawn_blocking(move || {
        pods.iter().map(|pod| usage(pod, &snapshot, &layers, &root)).collect::<Vec<_>>()
    });
    measured.await.unwrap_or_default()
}

/// What one pod uses.
fn usage(pod: &PodView, snapshot: &Snapshot, layers: &HashMap<String, Size>, root: &Path) -> PodUsage {
    let sampled = snapshot.pods.iter().find(|sampled| sampled.uid == pod.uid());
    let mut usage = PodUsage { uid: pod.uid().to_owned(), ..Default::default() };
    usage.memory = sampled.and_then(|pod| pod.usage.memory).map(|memory| memory.working_set).unwrap_or_default();
    usage.pids = sampled.and_then(|pod| pod.usage.pids).unwrap_or_default();
    for container in &pod.containers {
        let mut size = layers.get(&container.id).copied().unwrap_or_default();
        size += container.log.parent().map(measure).unwrap_or_default();
        usage.containers.insert(container.name.clone(), size.bytes);
        usage.storage += size;
    }
    for (name, memory) in empty_dirs(pod) {
        let size = measure(&volume_path(root, pod.uid(), "kubernetes.io~empty-dir", &name));
        if !memory {
            usage.storage += size;
        }
        usage.empty_dirs.insert(name, size.bytes);
    }
    usage
}

/// The `emptyDir` volumes of a pod, and whether they are in memory.
pub(super) fn empty_dirs(pod: &PodView) -> Vec<(String, bool)> {
    let volumes = pod.pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let empty = volumes.filter_map(|volume| {
        let medium = volume.empty_dir.as_ref()?.medium.as_deref().unwrap_or_default();
        Some((volume.name.clone(), !medium.is_empty()))
    });
    empty.collect()
}

/// Where a volume of a pod lies.
fn volume_path(root: &Path, uid: &str, plugin: &str, name: &str) -> PathBuf {
    root.join("pods").join(uid).join("volumes").join(plugin).join(name)
}

/// The volumes a pod has on this host, by what lies below the root: name, path.
pub(super) fn volumes(root: &Path, uid: &str) -> Vec<(String, PathBuf)> {
    let folder = root.join("pods").join(uid).join("volumes");
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().collect::<Vec<_>>();
    let plugins = entries(&folder).into_iter();
    let found = plugins.flat_map(|plugin| entries(&plugin.path()));
    found.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect()
}

/// What the layer of each container takes, as containerd counted it lately; by id.
pub(super) async fn layers(context: &Context) -> HashMap<String, Size> {
    let answer = context.cri.list_container_stats(v1::ListContainerStatsRequest::default()).await;
    let stats = answer.inspect_err(|error| tracing::debug!(%error, "layers are not measured")).unwrap_or_default();
    let layer = |stats: v1::ContainerStats| {
        let layer = stats.writable_layer?;
        let value = |value: Option<v1::UInt64Value>| value.map(|value| value.value).unwrap_or_default();
        Some((stats.attributes?.id, Size { bytes: value(layer.used_bytes), inodes: value(layer.inodes_used) }))
    };
    stats.stats.into_iter().filter_map(layer).collect()
}

/// What a folder takes, all the way down, not crossing into other file systems.
pub(super) fn measure(path: &Path) -> Size {
    let Ok(top) = std::fs::symlink_metadata(path) else { return Size::default() };
    let mut size = Size { bytes: top.blocks() * 512, inodes: 1 };
    let (mut folders, mut seen) = (vec![path.to_owned()], HashSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.dev() != top.dev() || (meta.nlink() > 1 && !meta.is_dir() && !seen.insert(meta.ino())) {
                continue;
            }
            size += Size { bytes: meta.blocks() * 512, inodes: 1 };
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_two_names_counts_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("below");
        std::fs::create_dir(&below).expect("a folder");
        std::fs::write(below.join("a"), vec![1; 64 << 10]).expect("a file");
        std::fs::hard_link(below.join("a"), folder.path().join("b")).expect("a link");
        let size = measure(folder.path());
        assert_eq!(size.inodes, 3);
        assert!((64 << 10..128 << 10).contains(&size.bytes), "{size:?}");
    }

    #[test]
    fn what_is_not_there_takes_nothing() {
        assert_eq!(measure(Path::new("/nowhere/at/all")), Size::default());
    }

    #[test]
    fn volumes_are_found_by_what_lies_there() {
        let root = tempfile::tempdir().expect("a folder");
        let path = volume_path(root.path(), "u", "kubernetes.io~empty-dir", "scratch");
        std::fs::create_dir_all(&path).expect("a folder");
        assert_eq!(volumes(root.path(), "u"), [("scratch".to_owned(), path)]);
        assert!(volumes(root.path(), "other").is_empty());
    }
}
