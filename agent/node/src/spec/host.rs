//! Owns what is read of the host once: how much memory there is, which huge pages, which cgroups.

use std::path::Path;
use std::sync::LazyLock;

/// Facts of the host that do not change while it runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Host {
    /// Bytes of memory.
    pub memory: i64,
    /// Sizes of huge pages as runtimes write them: `2MB`, `1GB`.
    pub huge_pages: Vec<String>,
    /// Whether cgroups are version 2 throughout.
    pub unified: bool,
    /// Whether cgroups limit swap.
    pub swap: bool,
    /// Whether AppArmor is in force.
    pub apparmor: bool,
    /// Folders below /sys that show what other tenants of a CPU do.
    pub thermal: Vec<String>,
}

/// The facts, read when first asked for.
pub(super) fn facts() -> &'static Host {
    static FACTS: LazyLock<Host> = LazyLock::new(read);
    &FACTS
}

fn read() -> Host {
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    Host {
        memory: memory_total(&text("/proc/meminfo")).unwrap_or_default(),
        huge_pages: names("/sys/kernel/mm/hugepages").iter().filter_map(|name| page_size(name)).collect(),
        unified,
        swap: has_swap_limits(unified),
        apparmor: text("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
        thermal: thermal(),
    }
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn names(path: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn memory_total(meminfo: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<i64>().ok()?.checked_mul(1024)
}

/// `hugepages-2048kB` → `2MB`.
fn page_size(folder: &str) -> Option<String> {
    let kilobytes: u64 = folder.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(size_name(kilobytes.checked_mul(1024)?))
}

/// A size of pages in the largest unit that it is a multiple of.
pub(super) fn size_name(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut size = bytes;
    let mut unit = 0;
    while size >= 1024 && size.is_multiple_of(1024) && unit + 1 < units.len() {
        size /= 1024;
        unit += 1;
    }
    format!("{size}{}", units[unit])
}

fn has_swap_limits(unified: bool) -> bool {
    if !unified {
        return Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
    }
    // The root cgroup has no such file, so this process' own is looked at.
    let own = text("/proc/self/cgroup");
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Path::new("/sys/fs/cgroup").join(own).join("memory.swap.max").exists()
}

fn thermal() -> Vec<String> {
    let cpus = names("/sys/devices/system/cpu").into_iter();
    let cpus = cpus.filter(|name| name.strip_prefix("cpu").is_some_and(|number| number.parse::<u32>().is_ok()));
    let paths = cpus.map(|cpu| format!("/sys/devices/system/cpu/{cpu}/thermal_throttle"));
    paths.filter(|path| Path::new(path).exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let meminfo = "MemTotal:       24689012 kB\nMemFree:         1000 kB\n";
        assert_eq!(memory_total(meminfo), Some(24_689_012 * 1024));
        assert_eq!(memory_total("MemFree: 1 kB"), None);
    }

    #[test]
    fn pages_are_named_as_runtimes_do() {
        assert_eq!(page_size("hugepages-2048kB").as_deref(), Some("2MB"));
        assert_eq!(page_size("hugepages-1048576kB").as_deref(), Some("1GB"));
        assert_eq!(page_size("hugepages-64kB").as_deref(), Some("64KB"));
        assert_eq!(page_size("other"), None);
        assert_eq!(size_name(1536 << 20), "1536MB");
    }

    #[test]
    fn this_host_has_memory() {
        assert!(facts().memory > 0);
    }
}
