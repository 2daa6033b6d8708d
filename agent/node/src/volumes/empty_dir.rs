//! Owns emptyDir: a folder, or a file system in memory. Volumes of files lie in one too.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::error::{At, Problem, refused};
use super::mountpoint::{is_mount_point, mount_virtual};
use super::tree;
use crate::spec::quantity::Amount;

/// What an emptyDir lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Medium {
    /// The disk with the node's root.
    Disk,
    /// Memory, of which it takes at most so many bytes.
    Memory(Option<u64>),
    /// Huge pages of so many bytes each.
    Huge(u64),
}

impl Medium {
    /// What a pod asks for. `allocatable` is the memory that all pods together can have.
    pub fn of(pod: &Pod, medium: &str, limit: Option<&Quantity>, allocatable: Option<u64>) -> Result<Self, Problem> {
        match medium {
            "" => Ok(Self::Disk),
            "Memory" => Ok(Self::memory(pod, limit, allocatable)),
            "HugePages" => requested_page(pod).map(Self::Huge),
            huge => match huge.strip_prefix("HugePages-").and_then(Amount::parse) {
                Some(size) => Ok(Self::Huge(size.value().unsigned_abs())),
                None => refused(format!("unknown storage medium {medium:?}")),
            },
        }
    }

    /// Memory with the least of the limits that there are.
    pub fn memory(pod: &Pod, limit: Option<&Quantity>, allocatable: Option<u64>) -> Self {
        let limits = [limit.and_then(bytes), memory_limit(pod), allocatable];
        Self::Memory(limits.into_iter().flatten().filter(|limit| *limit > 0).min())
    }
}

fn bytes(quantity: &Quantity) -> Option<u64> {
    u64::try_from(Amount::of(quantity).value()).ok()
}

/// What a pod can have of the node's memory: its own limit, or what its containers can have together
/// if each of them has a limit.
fn memory_limit(pod: &Pod) -> Option<u64> {
    let spec = pod.spec.as_ref()?;
    if let Some(limit) = memory_of(spec.resources.as_ref()) {
        return Some(limit);
    }
    let limit = |container: &Container| memory_of(container.resources.as_ref());
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let (mut running, mut most) = (0_u64, 0_u64);
    for container in spec.init_containers.iter().flatten() {
        let own = limit(container)?;
        if sidecar(&container) {
            running += own;
            most = most.max(running);
        } else {
            most = most.max(running + own);
        }
    }
    for container in &spec.containers {
        running += limit(container)?;
    }
    let overhead = spec.overhead.as_ref().and_then(|overhead| overhead.get("memory")).and_then(bytes);
    Some(most.max(running) + overhead.unwrap_or_default())
}

fn memory_of(resources: Option<&ResourceRequirements>) -> Option<u64> {
    resources?.limits.as_ref()?.get("memory").and_then(bytes).filter(|limit| *limit > 0)
}

/// The only size of huge pages that a pod asks for.
fn requested_page(pod: &Pod) -> Result<u64, Problem> {
    let spec = pod.spec.iter();
    let resources = spec.flat_map(|spec| {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        containers.filter_map(|container| container.resources.as_ref()).chain(spec.resources.iter())
    });
    let names = resources.flat_map(|resources| resources.requests.iter().flatten()).map(|(name, _)| name);
    let sizes = names.filter_map(|name| name.strip_prefix("hugepages-")).filter_map(Amount::parse);
    let mut sizes: Vec<_> = sizes.map(|size| size.value().unsigned_abs()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    match sizes[..] {
        [size] => Ok(size),
        [] => refused("medium HugePages: hugePages storage requested, but there is no resource request for huge pages"),
        _ => refused("medium: HugePages can't be used if container requests multiple huge page sizes"),
    }
}

/// Makes it, unless it is there.
pub fn make(dir: &Path, medium: &Medium, group: Option<u32>) -> Result<(), Problem> {
    match medium {
        Medium::Disk => make_folder(dir, group),
        Medium::Memory(size) => {
            let size = size.map(|size| format!(",size={size}")).unwrap_or_default();
            let access = access(0o1777, group);
            mount_once("tmpfs", dir, &[format!("{access}{size},noswap"), format!("{access}{size}")])
        }
        Medium::Huge(page) => mount_once("hugetlbfs", dir, &[format!("{},pagesize={page}", access(0o755, group))]),
    }
}

/// The root's mode and group as options of a mount.
fn access(mode: u32, group: Option<u32>) -> String {
    match group {
        Some(group) => format!("mode={:o},gid={group}", mode | 0o2770),
        None => format!("mode={mode:o}"),
    }
}

/// Mounts with the first of the options that the kernel knows.
fn mount_once(kind: &str, dir: &Path, options: &[String]) -> Result<(), Problem> {
    make_folder(dir, None)?;
    if is_mount_point(dir).at("look at", dir)? {
        return Ok(());
    }
    let mut last = Ok(());
    for options in options {
        last = mount_virtual(kind, dir, options);
        match &last {
            Err(Problem::Io { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => {}
            _ => break,
        }
    }
    last
}

/// Makes a folder that everybody can write to; it appears under its name when it is complete.
fn make_folder(dir: &Path, group: Option<u32>) -> Result<(), Problem> {
    if fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else {
        return refused(format!("{} cannot be a volume", dir.display()));
    };
    fs::DirBuilder::new().recursive(true).mode(0o750).create(parent).at("make", parent)?;
    let mut new = PathBuf::from(parent);
    new.push(format!(".new-{}", name.display()));
    tree::remove(&new).at("remove", &new)?;
    fs::create_dir(&new).at("make", &new)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(&new, None, Some(group)).at("give to its group", &new)?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).at("set the permissions of", &new)?;
    fs::rename(&new, dir).at("make", dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::json;

    use super::*;
    use crate::volumes::mountpoint;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
    }

    #[test]
    fn memory_is_limited_by_the_least() {
        let limited = pod(json!({"containers": [
            {"name": "a", "resources": {"limits": {"memory": "64Mi"}}},
            {"name": "b", "resources": {"limits": {"memory": "36Mi"}}},
        ]}));
        let size = |pod: &Pod, limit: Option<&str>| {
            let limit = limit.map(|limit| Quantity(limit.into()));
            Medium::of(pod, "Memory", limit.as_ref(), Some(1 << 30)).unwrap()
        };
        assert_eq!(size(&limited, None), Medium::Memory(Some(100 << 20)));
        assert_eq!(size(&limited, Some("1Mi")), Medium::Memory(Some(1 << 20)));
        assert_eq!(size(&limited, Some("1Gi")), Medium::Memory(Some(100 << 20)));
        assert_eq!(size(&limited, Some("0")), Medium::Memory(Some(100 << 20)));
        let unlimited =
            pod(json!({"containers": [{"name": "a", "resources": {"limits": {"memory": "1Mi"}}}, {"name": "b"}]}));
        assert_eq!(size(&unlimited, None), Medium::Memory(Some(1 << 30)));
        let init = pod(json!({
            "containers": [{"name": "a", "resources": {"limits": {"memory": "1Mi"}}}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"limits": {"memory": "2Mi"}}},
                {"name": "i", "resources": {"limits": {"memory": "5Mi"}}},
            ],
        }));
        assert_eq!(size(&init, None), Medium::Memory(Some(7 << 20)));
    }

    #[test]
    fn huge_pages_have_one_size() {
        let of = |spec, medium| Medium::of(&pod(spec), medium, None, None).map_err(|problem| problem.to_string());
        let asks = json!({"containers": [{"name": "a", "resources": {"requests": {"hugepages-2Mi": "4Mi"}}}]});
        assert_eq!(of(asks, "HugePages"), Ok(Medium::Huge(2 << 20)));
        assert_eq!(of(json!({"containers": []}), "HugePages-1Gi"), Ok(Medium::Huge(1 << 30)));
        assert!(of(json!({"containers": []}), "HugePages").unwrap_err().contains("no resource request"));
        assert_eq!(of(json!({"containers": []}), "Paper").unwrap_err(), "unknown storage medium \"Paper\"");
    }

    #[test]
    fn folders_are_everybodys_and_keep_what_a_container_made_of_them() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("empty/v");
        make(&dir, &Medium::Disk, Some(77)).unwrap();
        let made = fs::metadata(&dir).unwrap();
        assert_eq!((made.mode() & 0o7777, made.gid()), (0o2777, 77));
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        make(&dir, &Medium::Disk, Some(77)).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700);
    }

    #[test]
    fn memory_is_mounted_once_with_its_limit_and_group() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("v");
        for _ in 0..2 {
            make(&dir, &Medium::Memory(Some(1 << 20)), Some(77)).unwrap();
        }
        let made = fs::metadata(&dir).unwrap();
        assert_eq!((made.mode() & 0o7777, made.gid()), (0o3777, 77));
        let file_system = rustix::fs::statfs(&dir).unwrap();
        assert_eq!(file_system.f_blocks * u64::try_from(file_system.f_bsize).unwrap(), 1 << 20);
        mountpoint::unmount(&dir).unwrap();
        assert!(!is_mount_point(&dir).unwrap(), "it was mounted twice");
    }
}
