//! Owns making and removing cgroups as folders. Blocking: the kernel may take a moment for each.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::hierarchy::Hierarchy;
use super::limits::Limits;

/// What could not be done, to which path.
pub type Failure = (&'static str, PathBuf, io::Error);

/// Controllers of the unified hierarchy that pods' cgroups have where the kernel offers them.
const WANTED: [&str; 6] = ["cpu", "memory", "pids", "cpuset", "io", "hugetlb"];

/// Makes a cgroup in every hierarchy. A controller that refuses is left to the OCI runtime: only when
/// none takes it is that a failure.
pub fn make(hierarchy: &Hierarchy, path: &Path) -> Result<(), Failure> {
    if let Hierarchy::Unified(mount) = hierarchy {
        return make_unified(mount, path);
    }
    let mut failure = None;
    let mut made = false;
    for folder in hierarchy.folders(path) {
        match std::fs::create_dir_all(&folder) {
            Ok(()) => made = true,
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "cgroup refused");
                failure = Some(("make", folder, error));
            }
        }
    }
    if let Some(cpuset) = hierarchy.folder("cpuset", path) {
        inherit_cpuset(&cpuset, path.components().count());
    }
    failure.filter(|_| !made).map_or(Ok(()), Err)
}

/// In v2 a cgroup has only the controllers that each one above it passes on.
fn make_unified(mount: &Path, path: &Path) -> Result<(), Failure> {
    let mut folder = mount.to_owned();
    for step in path.components() {
        pass_on(&folder);
        folder.push(step);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(("make", folder, error)),
            _ => {}
        }
    }
    Ok(())
}

fn pass_on(folder: &Path) {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let (there, passed) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let has = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    for name in WANTED.iter().filter(|name| has(&there, name) && !has(&passed, name)) {
        if let Err(error) = std::fs::write(folder.join("cgroup.subtree_control"), format!("+{name}")) {
            tracing::debug!(folder = %folder.display(), controller = name, %error, "controller is not passed on");
        }
    }
}

/// In v1 nothing can run in a new cgroup until it was told CPUs and memory: its parent's.
fn inherit_cpuset(folder: &Path, levels: usize) {
    let mut chain: Vec<_> = folder.ancestors().take(levels).collect();
    chain.reverse();
    for folder in chain {
        let Some(parent) = folder.parent() else { continue };
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let read = |folder: &Path| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            let own = read(folder);
            if own.trim().is_empty() {
                std::fs::write(folder.join(name), read(parent).trim()).ok();
            }
        }
    }
}

/// Writes limits into a cgroup that is there.
pub fn limit(hierarchy: &Hierarchy, path: &Path, limits: &Limits) -> Result<(), Failure> {
    let mut failure = None;
    for (folder, name, content) in files(hierarchy, path, limits) {
        let file = folder.join(name);
        if std::fs::read_to_string(&file).is_ok_and(|now| now.trim() == content) {
            continue;
        }
        if let Err(error) = std::fs::write(&file, &content) {
            tracing::debug!(file = %file.display(), content, %error, "limit refused");
            failure.get_or_insert(("limit", file, error));
        }
    }
    failure.map_or(Ok(()), Err)
}

fn files(hierarchy: &Hierarchy, path: &Path, limits: &Limits) -> Vec<(PathBuf, &'static str, String)> {
    match hierarchy {
        Hierarchy::Unified(mount) => {
            let folder = mount.join(path);
            limits.unified().into_iter().map(|(name, content)| (folder.clone(), name, content)).collect()
        }
        Hierarchy::Split(mounts) => {
            let all = mounts.iter().flat_map(|mount| mount.controllers.iter().map(move |name| (mount, name)));
            all.flat_map(|(mount, controller)| {
                let folder = mount.path.join(path);
                limits.split(controller).into_iter().map(move |(name, content)| (folder.clone(), name, content))
            })
            .collect()
        }
    }
}

/// Whether a cgroup is there, in any hierarchy.
pub fn exists(hierarchy: &Hierarchy, path: &Path) -> bool {
    hierarchy.folders(path).iter().any(|folder| folder.is_dir())
}

/// Removes a cgroup with all below it. Fails while something lives in it.
pub fn remove(hierarchy: &Hierarchy, path: &Path) -> Result<(), Failure> {
    hierarchy.folders(path).iter().try_for_each(|folder| remove_folder(folder))
}

fn remove_folder(folder: &Path) -> Result<(), Failure> {
    for child in children(folder) {
        remove_folder(&child)?;
    }
    match std::fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(("remove", folder.to_owned(), error)),
        _ => Ok(()),
    }
}

/// Kills everything in a cgroup and below it.
pub fn kill(hierarchy: &Hierarchy, path: &Path) {
    if let Hierarchy::Unified(mount) = hierarchy
        && std::fs::write(mount.join(path).join("cgroup.kill"), "1").is_ok()
    {
        return;
    }
    for folder in hierarchy.folders(path) {
        kill_folder(&folder);
    }
}

fn kill_folder(folder: &Path) {
    for child in children(folder) {
        kill_folder(&child);
    }
    // Who is frozen cannot die.
    std::fs::write(folder.join("freezer.state"), "THAWED").ok();
    for pid in std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

/// The cgroups right below one.
pub fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::hierarchy::Mount;

    fn split(root: &Path) -> Hierarchy {
        let mount = |name: &str| Mount { controllers: vec![name.to_owned()], path: root.join(name) };
        Hierarchy::Split(vec![mount("cpu"), mount("cpuset")])
    }

    #[test]
    fn v1_gets_folders_limits_and_cpus_of_the_parent() {
        let root = tempfile::tempdir().unwrap();
        let hierarchy = split(root.path());
        std::fs::create_dir_all(root.path().join("cpuset")).unwrap();
        std::fs::write(root.path().join("cpuset/cpuset.cpus"), "0-1\n").unwrap();
        let path = Path::new("kubepods/poda");
        assert!(!exists(&hierarchy, path));
        make(&hierarchy, path).unwrap();
        limit(&hierarchy, path, &Limits { shares: 512, quota: Some(5000), ..Limits::tier(0) }).unwrap();
        let read = |name: &str| std::fs::read_to_string(root.path().join(name)).unwrap();
        assert_eq!(read("cpu/kubepods/poda/cpu.shares"), "512");
        assert_eq!(read("cpu/kubepods/poda/cpu.cfs_quota_us"), "5000");
        assert_eq!(read("cpuset/kubepods/cpuset.cpus"), "0-1");
        assert_eq!(read("cpuset/kubepods/poda/cpuset.cpus"), "0-1");
        assert!(exists(&hierarchy, path));
    }

    #[test]
    fn one_refusing_controller_is_no_failure_but_all_are() {
        let root = tempfile::tempdir().unwrap();
        let hierarchy = split(root.path());
        std::fs::write(root.path().join("cpu"), "no folder").unwrap();
        make(&hierarchy, Path::new("kubepods")).unwrap();
        std::fs::remove_dir_all(root.path().join("cpuset")).unwrap();
        std::fs::write(root.path().join("cpuset"), "no folder").unwrap();
        assert_eq!(make(&hierarchy, Path::new("kubepods")).unwrap_err().0, "make");
    }

    #[test]
    fn v2_passes_controllers_on_and_goes_bottom_up() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("cgroup.controllers"), "cpu misc").unwrap();
        let hierarchy = Hierarchy::Unified(root.path().to_owned());
        make(&hierarchy, Path::new("kubepods/burstable/poda")).unwrap();
        let passed = std::fs::read_to_string(root.path().join("cgroup.subtree_control")).unwrap();
        assert_eq!(passed, "+cpu");
        std::fs::create_dir(root.path().join("kubepods/burstable/poda/container")).unwrap();
        remove(&hierarchy, Path::new("kubepods/burstable/poda")).unwrap();
        assert!(root.path().join("kubepods/burstable").is_dir());
        assert!(!exists(&hierarchy, Path::new("kubepods/burstable/poda")));
        remove(&hierarchy, Path::new("kubepods/burstable/poda")).unwrap();
    }
}
