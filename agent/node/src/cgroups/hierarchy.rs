//! Owns where the kernel shows cgroups: one unified hierarchy, or one for each controller of v1.

use std::path::{Path, PathBuf};

/// The mounted hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// cgroup v2.
    Unified(PathBuf),
    /// cgroup v1, with what of v2 is mounted beside it (which has no controllers then). Empty where
    /// nothing is mounted.
    Split(Vec<Mount>),
}

/// One hierarchy of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its controllers: `cpu`, `cpuacct`, or `name=systemd`; none for one of v2.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// What v1 has controllers of; other options of a mount are no controllers.
const CONTROLLERS: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
];

impl Hierarchy {
    /// As mounted in this process's namespace.
    pub fn mounted() -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::parse(&mounts)
    }

    /// Reads `/proc/self/mountinfo`.
    pub fn parse(mountinfo: &str) -> Self {
        let mut mounts: Vec<Mount> = Vec::new();
        for line in mountinfo.lines() {
            let Some(mount) = parse_line(line) else { continue };
            // Where the same is mounted twice, the shorter path is the one everybody uses.
            match mounts.iter_mut().find(|known| known.controllers == mount.controllers) {
                Some(known) if mount.path.as_os_str().len() < known.path.as_os_str().len() => *known = mount,
                Some(_) => {}
                None => mounts.push(mount),
            }
        }
        let real = |mount: &Mount| mount.controllers.iter().any(|controller| !controller.starts_with("name="));
        match mounts.iter().find(|mount| mount.controllers.is_empty()) {
            Some(unified) if !mounts.iter().any(real) => Self::Unified(unified.path.clone()),
            _ => Self::Split(mounts),
        }
    }

    /// Where a cgroup is, in every hierarchy.
    pub fn folders(&self, path: &Path) -> Vec<PathBuf> {
        match self {
            Self::Unified(mount) => vec![mount.join(path)],
            Self::Split(mounts) => mounts.iter().map(|mount| mount.path.join(path)).collect(),
        }
    }

    /// Where a controller's files of a cgroup are.
    pub fn folder(&self, controller: &str, path: &Path) -> Option<PathBuf> {
        match self {
            Self::Unified(mount) => Some(mount.join(path)),
            Self::Split(mounts) => {
                let mount = mounts.iter().find(|mount| mount.controllers.iter().any(|name| name == controller))?;
                Some(mount.path.join(path))
            }
        }
    }

    /// Whether it is v2.
    pub fn is_unified(&self) -> bool {
        matches!(self, Self::Unified(_))
    }
}

fn parse_line(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let path = PathBuf::from(place.split(' ').nth(4)?);
    let controllers = match kind.next()? {
        "cgroup2" => Vec::new(),
        "cgroup" => {
            let options = kind.nth(1)?.split(',');
            options.filter(|o| CONTROLLERS.contains(o) || o.starts_with("name=")).map(str::to_owned).collect()
        }
        _ => return None,
    };
    Some(Mount { controllers, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_v2_is_unified() {
        let text = "24 30 0:22 / /sys rw - sysfs sysfs rw\n\
            35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(Hierarchy::parse(text), Hierarchy::Unified("/sys/fs/cgroup".into()));
    }

    #[test]
    fn v1_is_split_even_with_v2_beside_it() {
        let text = "40 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            41 30 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            43 30 0:31 / /mnt/other/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            42 30 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let hierarchy = Hierarchy::parse(text);
        let Hierarchy::Split(mounts) = &hierarchy else { panic!("{hierarchy:?}") };
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[0].controllers, ["cpu", "cpuacct"]);
        assert_eq!(mounts[1].controllers, ["name=systemd"]);
        let folder = hierarchy.folder("cpuacct", Path::new("kubepods"));
        assert_eq!(folder, Some("/sys/fs/cgroup/cpu,cpuacct/kubepods".into()));
        assert_eq!(hierarchy.folder("memory", Path::new("kubepods")), None);
        assert_eq!(hierarchy.folders(Path::new("a")).len(), 3);
    }

    #[test]
    fn nothing_mounted_is_no_hierarchy() {
        assert_eq!(Hierarchy::parse("24 30 0:22 / /sys rw - sysfs sysfs rw\n"), Hierarchy::Split(Vec::new()));
    }
}
