//! Owns where on the disk pods keep things: volumes, and the layers that containers write to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::cri::v1;
use crate::disk::Space;
use crate::pods::PodView;

/// The `emptyDir` volumes of a pod, and whether they are in memory.
pub(super) fn empty_dirs(pod: &PodView) -> Vec<(String, bool)> {
    let volumes = pod.pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
    let empty = volumes.filter_map(|volume| {
        let medium = volume.empty_dir.as_ref()?.medium.as_deref().unwrap_or_default();
        Some((volume.name.clone(), !medium.is_empty()))
    });
    empty.collect()
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
pub(super) async fn layers(context: &Context) -> HashMap<String, Space> {
    let answer = context.cri.list_container_stats(v1::ListContainerStatsRequest::default()).await;
    let stats = answer.inspect_err(|error| tracing::debug!(%error, "layers are not measured")).unwrap_or_default();
    let layer = |stats: v1::ContainerStats| {
        let layer = stats.writable_layer?;
        let value = |value: Option<v1::UInt64Value>| value.map(|value| value.value).unwrap_or_default();
        Some((stats.attributes?.id, Space { bytes: value(layer.used_bytes), inodes: value(layer.inodes_used) }))
    };
    stats.stats.into_iter().filter_map(layer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_found_by_what_lies_there() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("pods/u/volumes/kubernetes.io~empty-dir/scratch");
        std::fs::create_dir_all(&path).expect("a folder");
        assert_eq!(volumes(root.path(), "u"), [("scratch".to_owned(), path)]);
        assert!(volumes(root.path(), "other").is_empty());
    }
}
