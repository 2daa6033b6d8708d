//! Owns reading what a cgroup uses: processor, memory, process ids; v1, v2 and both side by side.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::CgroupDriver;

/// What a cgroup uses. What cannot be read is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Processor time since it was made, nanoseconds.
    pub cpu: Option<u64>,
    /// Memory.
    pub memory: Option<MemoryUsage>,
    /// Threads.
    pub pids: Option<u64>,
}

/// What a cgroup uses of memory, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MemoryUsage {
    /// All that is counted.
    pub usage: u64,
    /// Without file pages that nobody used lately.
    pub working_set: u64,
    /// Pages of processes.
    pub rss: u64,
    /// Pages of files.
    pub cache: u64,
    /// On swap.
    pub swap: u64,
    /// Page faults.
    pub faults: u64,
    /// Page faults that had to read.
    pub major_faults: u64,
    /// The limit, where there is one.
    pub limit: Option<u64>,
}

/// The file system of one controller.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mount {
    V1(PathBuf),
    V2(PathBuf),
}

impl Mount {
    fn join(&self, cgroup: &str) -> PathBuf {
        let (Self::V1(root) | Self::V2(root)) = self;
        root.join(cgroup.trim_start_matches('/'))
    }
}

/// Where the controllers are mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mounts {
    cpu: Option<Mount>,
    memory: Option<Mount>,
    pids: Option<Mount>,
}

impl Mounts {
    /// The host's; they do not change while it is up.
    pub fn of_host() -> &'static Self {
        static MOUNTS: OnceLock<Mounts> = OnceLock::new();
        MOUNTS.get_or_init(|| Self::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()))
    }

    /// Reads /proc/self/mountinfo. A controller of v1 goes before v2, which has not what v1 took.
    fn parse(text: &str) -> Self {
        let controller = |name: &str| {
            let mut unified = None;
            for line in text.lines() {
                let Some((mount, kind)) = line.split_once(" - ") else { continue };
                let Some(point) = mount.split(' ').nth(4) else { continue };
                let mut kind = kind.split(' ');
                match (kind.next(), kind.nth(1)) {
                    (Some("cgroup"), Some(options)) if options.split(',').any(|option| option == name) => {
                        return Some(Mount::V1(PathBuf::from(point)));
                    }
                    (Some("cgroup2"), _) => unified = Some(Mount::V2(PathBuf::from(point))),
                    _ => {}
                }
            }
            unified
        };
        Self { cpu: controller("cpuacct"), memory: controller("memory"), pids: controller("pids") }
    }

    /// What a cgroup uses now.
    pub fn usage(&self, cgroup: &str) -> Usage {
        let pids = self.pids.as_ref().and_then(|mount| number(&mount.join(cgroup).join("pids.current")));
        Usage { cpu: self.cpu(cgroup), memory: self.memory(cgroup), pids }
    }

    /// Processor time of a cgroup, nanoseconds; `""` is the root.
    pub fn cpu(&self, cgroup: &str) -> Option<u64> {
        let mount = self.cpu.as_ref()?;
        let folder = mount.join(cgroup);
        match mount {
            Mount::V1(_) => number(&folder.join("cpuacct.usage")),
            Mount::V2(_) => field(&read(&folder.join("cpu.stat"))?, "usage_usec").map(|time| time * 1000),
        }
    }

    fn memory(&self, cgroup: &str) -> Option<MemoryUsage> {
        let mount = self.memory.as_ref()?;
        let folder = mount.join(cgroup);
        match mount {
            Mount::V1(_) => {
                let usage = number(&folder.join("memory.usage_in_bytes"))?;
                let limit = number(&folder.join("memory.limit_in_bytes"));
                Some(memory_v1(usage, limit, &read(&folder.join("memory.stat"))?))
            }
            Mount::V2(_) => {
                let usage = number(&folder.join("memory.current"))?;
                let limit = number(&folder.join("memory.max"));
                let swap = number(&folder.join("memory.swap.current")).unwrap_or_default();
                Some(memory_v2(usage, limit, swap, &read(&folder.join("memory.stat"))?))
            }
        }
    }

    /// A process of the cgroup.
    pub fn process(&self, cgroup: &str) -> Option<u32> {
        let folder = self.memory.as_ref().or(self.cpu.as_ref())?.join(cgroup);
        read(&folder.join("cgroup.procs"))?.lines().next()?.trim().parse().ok()
    }
}

fn memory_v1(usage: u64, limit: Option<u64>, stat: &str) -> MemoryUsage {
    let value = |name| field(stat, name).unwrap_or_default();
    MemoryUsage {
        usage,
        working_set: usage.saturating_sub(value("total_inactive_file")),
        rss: value("total_rss"),
        cache: value("total_cache"),
        swap: value("total_swap"),
        faults: value("total_pgfault"),
        major_faults: value("total_pgmajfault"),
        // No limit is a number near the largest.
        limit: limit.filter(|limit| *limit < 1 << 60),
    }
}

fn memory_v2(usage: u64, limit: Option<u64>, swap: u64, stat: &str) -> MemoryUsage {
    let value = |name| field(stat, name).unwrap_or_default();
    MemoryUsage {
        usage,
        working_set: usage.saturating_sub(value("inactive_file")),
        rss: value("anon"),
        cache: value("file"),
        swap,
        faults: value("pgfault"),
        major_faults: value("pgmajfault"),
        limit,
    }
}

/// The path of a pod's cgroup by what the CRI is given for it: a slice is below those its name tells.
pub(super) fn pod_path(parent: &str) -> String {
    let Some(name) = parent.trim_matches('/').strip_suffix(".slice").filter(|name| !name.contains('/')) else {
        return parent.trim_matches('/').to_owned();
    };
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    ends.map(|end| format!("{}.slice", &name[..end])).collect::<Vec<_>>().join("/")
}

/// The path of a container's cgroup in its pod's.
pub(super) fn container_path(driver: CgroupDriver, pod: &str, id: &str) -> String {
    match driver {
        CgroupDriver::Systemd => format!("{pod}/cri-containerd-{id}.scope"),
        CgroupDriver::Cgroupfs => format!("{pod}/{id}"),
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn number(path: &Path) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// A field of a file of `NAME NUMBER` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:8 - cgroup cgroup rw,cpu,cpuacct\n\
        32 23 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        33 23 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_controller_of_v1_goes_before_v2() {
        let mounts = Mounts::parse(HYBRID);
        assert_eq!(mounts.cpu, Some(Mount::V1("/sys/fs/cgroup/cpu,cpuacct".into())));
        assert_eq!(mounts.memory, Some(Mount::V1("/sys/fs/cgroup/memory".into())));
        assert_eq!(mounts.pids, Some(Mount::V2("/sys/fs/cgroup/unified".into())));
        let unified = Mounts::parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert_eq!(unified.memory, Some(Mount::V2("/sys/fs/cgroup".into())));
    }

    #[test]
    fn slices_are_below_those_their_names_tell() {
        assert_eq!(
            pod_path("kubepods-burstable-pod1_2.slice"),
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"
        );
        assert_eq!(pod_path("/kubepods/besteffort/podu"), "kubepods/besteffort/podu");
    }

    #[test]
    fn both_versions_say_the_same() {
        let v1 = "cache 1\ninactive_file 1\ntotal_cache 60\ntotal_rss 30\ntotal_inactive_file 40\ntotal_pgfault 7\n";
        let usage = memory_v1(100, Some(0x7fff_ffff_ffff_f000), v1);
        let v2 = "anon 30\nfile 60\ninactive_file 40\npgfault 7\n";
        assert_eq!(usage, memory_v2(100, None, 0, v2));
        assert_eq!((usage.working_set, usage.rss, usage.limit), (60, 30, None));
    }

    #[test]
    fn a_cgroup_of_v2_is_read() {
        let root = tempfile::tempdir().expect("a folder");
        let cgroup = root.path().join("kubepods/podu");
        std::fs::create_dir_all(&cgroup).expect("a folder");
        let files = [
            ("cpu.stat", "usage_usec 12\nuser_usec 5\n"),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "inactive_file 96\n"),
            ("pids.current", "3\n"),
            ("cgroup.procs", "42\n43\n"),
        ];
        for (name, text) in files {
            std::fs::write(cgroup.join(name), text).expect("a file");
        }
        let mounts = Mounts::parse(&format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", root.path().display()));
        let usage = mounts.usage("kubepods/podu");
        assert_eq!((usage.cpu, usage.pids), (Some(12_000), Some(3)));
        let memory = usage.memory.expect("memory");
        assert_eq!((memory.usage, memory.working_set, memory.limit), (4096, 4000, None));
        assert_eq!(mounts.process("kubepods/podu"), Some(42));
        assert_eq!(mounts.usage("elsewhere"), Usage::default());
    }
}
