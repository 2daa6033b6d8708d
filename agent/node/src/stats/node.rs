//! Owns what the host has and has left: memory, the node's and the images' file systems, process ids.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, RwLock};

use crate::config::Settings;
use crate::context::Context;
use crate::cri::v1;

/// What the host has and has left, as eviction compares it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// Bytes that could be had without taking pages that are in use.
    pub memory_available: u64,
    /// Bytes there are.
    pub memory_capacity: u64,
    /// Of the file system that volumes and logs are on.
    pub nodefs: FsUsage,
    /// Of the file system that images and containers' layers are on; often the same.
    pub imagefs: FsUsage,
    /// Threads there are.
    pub pids: u64,
    /// Threads there can be.
    pub pids_max: u64,
}

/// What a file system has and has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FsUsage {
    /// Bytes left to who is not root.
    pub available: u64,
    /// Bytes there are.
    pub capacity: u64,
    /// Bytes taken.
    pub used: u64,
    /// Inodes left; a file system that counts none has neither.
    pub inodes_free: u64,
    /// Inodes there are.
    pub inodes: u64,
}

/// Memory of the host, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub capacity: u64,
    pub usage: u64,
    pub working_set: u64,
    pub rss: u64,
    pub swap_total: u64,
    pub swap_free: u64,
    /// Page faults since the host was started, and those that had to read.
    pub faults: (u64, u64),
}

/// Where images are kept, as containerd said last.
static IMAGES: RwLock<Option<PathBuf>> = RwLock::new(None);

/// What the host has and has left now. Some reads of /proc and two `statvfs`: cheap.
pub fn node_usage(settings: &Settings) -> io::Result<NodeUsage> {
    let memory = memory()?;
    let nodefs = fs_usage(&settings.root)?;
    let (pids, pids_max) = pids()?;
    Ok(NodeUsage {
        memory_available: memory.capacity.saturating_sub(memory.working_set),
        memory_capacity: memory.capacity,
        nodefs,
        imagefs: fs_usage(&images_path()).unwrap_or(nodefs),
        pids,
        pids_max,
    })
}

/// Where images are kept: as containerd said, else where it keeps them when told nothing else.
pub(super) fn images_path() -> PathBuf {
    let known = IMAGES.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    known.clone().unwrap_or_else(|| PathBuf::from("/var/lib/containerd"))
}

/// Asks containerd where it keeps images and what they take; [`node_usage`] looks there from then on.
pub async fn image_fs(context: &Context) -> Option<v1::FilesystemUsage> {
    let answer = context.cri.image_fs_info(v1::ImageFsInfoRequest {}).await;
    let answer = answer.inspect_err(|error| tracing::debug!(%error, "images' file system is not known")).ok()?;
    let usage = answer.image_filesystems.into_iter().next()?;
    if let Some(id) = usage.fs_id.as_ref().filter(|id| !id.mountpoint.is_empty()) {
        *IMAGES.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(PathBuf::from(&id.mountpoint));
    }
    Some(usage)
}

/// A file system by a path on it; one that is not there yet counts as what it will be below.
pub(super) fn fs_usage(path: &Path) -> io::Result<FsUsage> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(there)?;
    let unit = stat.f_frsize;
    Ok(FsUsage {
        available: stat.f_bavail * unit,
        capacity: stat.f_blocks * unit,
        used: stat.f_blocks.saturating_sub(stat.f_bfree) * unit,
        inodes_free: stat.f_favail,
        inodes: stat.f_files,
    })
}

/// The host's memory now.
pub(super) fn memory() -> io::Result<Memory> {
    let memory = parse_memory(&std::fs::read_to_string("/proc/meminfo")?);
    Ok(Memory { faults: parse_faults(&std::fs::read_to_string("/proc/vmstat")?), ..memory })
}

/// Page faults in /proc/vmstat, all and those that had to read.
fn parse_faults(text: &str) -> (u64, u64) {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    (field("pgfault ").unwrap_or_default(), field("pgmajfault ").unwrap_or_default())
}

/// Reads /proc/meminfo. As with a cgroup, the file pages that nobody used lately are not in the working set.
fn parse_memory(text: &str) -> Memory {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        number.unwrap_or_default() * 1024
    };
    let capacity = field("MemTotal");
    let usage = capacity.saturating_sub(field("MemFree"));
    Memory {
        capacity,
        usage,
        working_set: usage.saturating_sub(field("Inactive(file)")),
        rss: field("AnonPages"),
        swap_total: field("SwapTotal"),
        swap_free: field("SwapFree"),
        faults: (0, 0),
    }
}

/// Threads there are, and can be.
pub(super) fn pids() -> io::Result<(u64, u64)> {
    static MOST: OnceLock<u64> = OnceLock::new();
    let most = MOST.get_or_init(|| {
        let limit = |path| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        let limits = [limit("/proc/sys/kernel/pid_max"), limit("/proc/sys/kernel/threads-max")];
        limits.into_iter().flatten().min().unwrap_or(1 << 15)
    });
    Ok((parse_threads(&std::fs::read_to_string("/proc/loadavg")?), *most))
}

/// The number of threads in /proc/loadavg: `0.1 0.2 0.3 RUNNING/ALL LAST`.
fn parse_threads(text: &str) -> u64 {
    let field = text.split_whitespace().nth(3).and_then(|field| field.split_once('/'));
    field.and_then(|(_, all)| all.parse().ok()).unwrap_or_default()
}

/// When the host was started.
pub(super) fn boot_time() -> Option<jiff::Timestamp> {
    static BOOT: OnceLock<Option<jiff::Timestamp>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        jiff::Timestamp::from_second(seconds).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_nobody_used_lately_can_be_had() {
        let text = "MemTotal:  1000 kB\nMemFree:  300 kB\nInactive:  250 kB\nInactive(file):  200 kB\n\
                    AnonPages:  90 kB\nSwapTotal:  10 kB\nSwapFree:  4 kB\n";
        let memory = parse_memory(text);
        assert_eq!(memory.capacity, 1000 << 10);
        assert_eq!(memory.usage, 700 << 10);
        assert_eq!(memory.working_set, 500 << 10);
        assert_eq!((memory.rss, memory.swap_total, memory.swap_free), (90 << 10, 10 << 10, 4 << 10));
    }

    #[test]
    fn faults_are_counted() {
        assert_eq!(parse_faults("nr_free 1\npgfault 20\npgmajfault 3\n"), (20, 3));
    }

    #[test]
    fn threads_are_counted() {
        assert_eq!(parse_threads("0.52 0.58 0.59 2/1213 42\n"), 1213);
    }

    #[test]
    fn a_folder_not_there_yet_is_measured_where_it_will_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let usage = fs_usage(&folder.path().join("a/b")).expect("a file system");
        assert!(usage.capacity >= usage.available && usage.capacity > 0);
    }
}
