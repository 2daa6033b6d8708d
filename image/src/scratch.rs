//! Owns where the sysroot is put together: in memory when there is plenty, else beside the output.
//! It is some tens of thousands of files that are read once and deleted, which costs a disk seconds
//! and a busy disk minutes.

use std::path::{Path, PathBuf};

use gio::Cancellable;
use rustix::fs::statvfs;

/// Where every Debian system has a file system in memory.
const MEMORY: &str = "/dev/shm";
/// How much larger than its stored, compressed form a deployment may become, with room to spare.
const GROWTH: u64 = 5;

/// The folder to put a deployment of `checksum` together in.
pub fn choose(repo: &ostree::Repo, checksum: &str, beside: &Path) -> PathBuf {
    let stored = stored_bytes(repo, checksum);
    if stored.is_some_and(|stored| fits(stored, available_memory(), free_bytes(Path::new(MEMORY)))) {
        return PathBuf::from(MEMORY);
    }
    beside.to_owned()
}

/// Whether a commit of `stored` bytes may be unpacked in memory.
fn fits(stored: u64, memory: u64, space: u64) -> bool {
    stored.saturating_mul(GROWTH) < memory.min(space)
}

/// Bytes the commit's objects take up in the repository.
fn stored_bytes(repo: &ostree::Repo, checksum: &str) -> Option<u64> {
    let objects = repo.traverse_commit(checksum, 0, Cancellable::NONE).ok()?;
    let size = |object: &ostree::ObjectName| {
        repo.query_object_storage_size(object.object_type(), object.checksum(), Cancellable::NONE).ok()
    };
    objects.iter().map(size).sum()
}

fn available_memory() -> u64 {
    std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_available(&text)).unwrap_or_default()
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn parse_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Bytes free to us in a file system; 0 when there is none.
fn free_bytes(path: &Path) -> u64 {
    statvfs(path).map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_only_with_room_to_spare() {
        const GIB: u64 = 1 << 30;
        assert!(fits(GIB / 4, 4 * GIB, 12 * GIB));
        assert!(!fits(GIB / 4, GIB, 12 * GIB));
        assert!(!fits(GIB / 4, 4 * GIB, 64 << 20));
        assert!(!fits(u64::MAX, 4 * GIB, 12 * GIB));
    }

    #[test]
    fn reads_available_memory() {
        let text = "MemTotal:       24576000 kB\nMemFree: 1 kB\nMemAvailable:   22020096 kB\n";
        assert_eq!(parse_available(text), Some(22_020_096 * 1024));
        assert_eq!(parse_available("MemTotal: 1 kB\n"), None);
    }
}
