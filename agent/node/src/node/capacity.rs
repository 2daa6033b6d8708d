//! Owns what the host has, and what of it pods get.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::eviction::{Signal, Thresholds};
use crate::spec::quantity::Amount;

/// What the host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of CPUs.
    pub cpu_milli: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of the file system that the node's root is on.
    pub storage: i64,
    /// Bytes of huge pages by their size in KiB, also of sizes that none are reserved of.
    pub hugepages: BTreeMap<u64, i64>,
    /// How many processes and threads there can be, where the kernel says so.
    pub pids: Option<i64>,
}

/// Resources as the API writes them.
pub type Resources = BTreeMap<String, Quantity>;

impl Capacity {
    /// Asks the kernel. `root` is the node's folder.
    pub fn read(root: &Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = parse_cpus(&text("/sys/devices/system/cpu/online"));
        let cpus = cpus.or_else(|| std::thread::available_parallelism().ok()?.get().try_into().ok());
        let most = |path: &str| text(path).trim().parse::<i64>().ok();
        Self {
            cpu_milli: cpus.unwrap_or(1) * 1000,
            memory: meminfo(&text("/proc/meminfo"), "MemTotal").unwrap_or_default(),
            storage: existing(root).map_or(0, storage),
            hugepages: hugepages(Path::new("/sys/kernel/mm/hugepages")),
            pids: most("/proc/sys/kernel/pid_max").into_iter().chain(most("/proc/sys/kernel/threads-max")).min(),
        }
    }

    /// What is left without what is reserved for the host; never below nothing.
    pub fn without(&self, reserved: &BTreeMap<String, String>) -> Self {
        let of = |name: &str| reserved.get(name).and_then(|text| Amount::parse(text)).unwrap_or_default();
        Self {
            cpu_milli: (self.cpu_milli - of("cpu").milli()).max(0),
            memory: (self.memory - of("memory").value()).max(0),
            storage: (self.storage - of("ephemeral-storage").value()).max(0),
            pids: self.pids.map(|pids| (pids - of("pid").value()).max(0)),
            ..self.clone()
        }
    }

    /// What pods can ask for: without what is reserved, what eviction keeps free, and, of the memory,
    /// without huge pages.
    pub fn allocatable(&self, reserved: &BTreeMap<String, String>, eviction: &Thresholds) -> Self {
        let left = self.without(reserved);
        let pages: i64 = self.hugepages.values().sum();
        let kept = |signal: Signal, whole: i64| {
            let kept = eviction.of(signal, u64::try_from(whole).unwrap_or_default()).unwrap_or_default();
            i64::try_from(kept).unwrap_or(i64::MAX)
        };
        let memory = left.memory.saturating_sub(kept(Signal::Memory, self.memory)).saturating_sub(pages);
        // Of whole hundredths, of which every part is a whole number.
        let storage = left.storage.saturating_sub(kept(Signal::NodeFs, self.storage / 100 * 100));
        Self { memory: memory.max(0), storage: storage.max(0), ..left }
    }

    /// As the Node shows it.
    pub fn resources(&self, pods: u32) -> Resources {
        let mut resources = BTreeMap::from([
            ("cpu".to_owned(), cpu(self.cpu_milli)),
            ("memory".to_owned(), bytes(self.memory)),
            ("ephemeral-storage".to_owned(), bytes(self.storage)),
            ("pods".to_owned(), Quantity(pods.to_string())),
        ]);
        for (size, pages) in &self.hugepages {
            let Quantity(size) = bytes(i64::try_from(size * 1024).unwrap_or_default());
            resources.insert(format!("hugepages-{size}"), bytes(*pages));
        }
        resources
    }
}

/// Whether it is this node, not an extension of Kubernetes, that knows how much there is of a resource.
pub fn is_native(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory" | "ephemeral-storage" | "pods") || resource.starts_with("hugepages-")
}

/// CPUs in thousandths, in whole ones where possible.
fn cpu(milli: i64) -> Quantity {
    Quantity(if milli % 1000 == 0 { (milli / 1000).to_string() } else { format!("{milli}m") })
}

/// Bytes in the largest unit that leaves no rest, as Kubernetes writes them.
pub fn bytes(bytes: i64) -> Quantity {
    let (mut number, mut unit) = (bytes, 0);
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    while number != 0 && number % 1024 == 0 && unit + 1 < units.len() {
        (number, unit) = (number / 1024, unit + 1);
    }
    Quantity(format!("{number}{}", units[unit]))
}

/// A field of `/proc/meminfo` in bytes.
pub fn meminfo(text: &str, field: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<i64>().ok()?.checked_mul(1024)
}

/// Counts a list of CPUs such as `0-3,8`.
fn parse_cpus(list: &str) -> Option<i64> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<i64>().ok()? - first.parse::<i64>().ok()? + 1)
    };
    list.trim().split(',').map(count).sum()
}

/// The folder, or what of its path is there already.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

fn storage(path: &Path) -> i64 {
    rustix::fs::statvfs(path).map_or(0, |fs| i64::try_from(fs.f_blocks.saturating_mul(fs.f_frsize)).unwrap_or(i64::MAX))
}

fn hugepages(folder: &Path) -> BTreeMap<u64, i64> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |name: &str| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok();
    let pages = |path: &Path| std::fs::read_to_string(path.join("nr_hugepages")).ok()?.trim().parse::<i64>().ok();
    let sizes = entries.filter_map(|entry| {
        let size = size(entry.file_name().to_str()?)?;
        Some((size, pages(&entry.path())?.saturating_mul(i64::try_from(size).ok()?.checked_mul(1024)?)))
    });
    sizes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::threshold::tests::{DEFAULTS, thresholds};

    fn host() -> Capacity {
        Capacity {
            cpu_milli: 2000,
            memory: 4 << 30,
            storage: 100 << 30,
            hugepages: BTreeMap::from([(2048, 64 << 20), (1 << 20, 0)]),
            pids: Some(32768),
        }
    }

    fn reserved(items: &[(&str, &str)]) -> BTreeMap<String, String> {
        items.iter().map(|(name, amount)| (name.to_string(), amount.to_string())).collect()
    }

    #[test]
    fn pods_get_what_is_not_reserved_or_kept_free() {
        let wanted = reserved(&[("cpu", "100m"), ("memory", "1Gi"), ("ephemeral-storage", "10Gi")]);
        let left = host().allocatable(&wanted, &thresholds(&DEFAULTS));
        assert_eq!(left.cpu_milli, 1900);
        assert_eq!(left.memory, (3 << 30) - (100 << 20) - (64 << 20));
        assert_eq!(left.storage, (90 << 30) - (100 << 30) / 100 * 10);
        let none = host().allocatable(&reserved(&[("cpu", "3"), ("memory", "1Ti")]), &thresholds(&DEFAULTS));
        assert_eq!((none.cpu_milli, none.memory), (0, 0));
    }

    #[test]
    fn what_eviction_keeps_free_is_as_somebody_wants_it() {
        let wanted = thresholds(&[("memory.available", "25%"), ("nodefs.available", "2Gi")]);
        let left = host().allocatable(&reserved(&[]), &wanted);
        assert_eq!(left.memory, (3 << 30) - (64 << 20));
        assert_eq!(left.storage, 98 << 30);
        let all = host().allocatable(&reserved(&[]), &thresholds(&[]));
        assert_eq!((all.memory, all.storage), ((4 << 30) - (64 << 20), 100 << 30));
    }

    #[test]
    fn processes_are_reserved_where_they_are_limited() {
        assert_eq!(host().without(&reserved(&[("pid", "2768")])).pids, Some(30_000));
        assert_eq!(host().without(&reserved(&[])).pids, Some(32_768));
        let free = Capacity { pids: None, ..host() };
        assert_eq!(free.without(&reserved(&[("pid", "1000")])).pids, None);
    }

    #[test]
    fn resources_are_written_as_kubernetes_does() {
        let resources = Capacity { cpu_milli: 1900, memory: 24_684_092 << 10, ..host() }.resources(110);
        let text = |name: &str| resources[name].0.as_str();
        assert_eq!(text("cpu"), "1900m");
        assert_eq!(text("memory"), "24684092Ki");
        assert_eq!(text("ephemeral-storage"), "100Gi");
        assert_eq!(text("pods"), "110");
        assert_eq!(text("hugepages-2Mi"), "64Mi");
        assert_eq!(text("hugepages-1Gi"), "0");
        assert!(resources.keys().all(|name| is_native(name)) && !is_native("example.com/gpu"));
    }

    #[test]
    fn the_kernels_lists_are_read() {
        assert_eq!(parse_cpus("0-3,8\n"), Some(5));
        assert_eq!(parse_cpus("0\n"), Some(1));
        assert_eq!(parse_cpus(""), None);
        let text = "MemTotal:       24684092 kB\nMemFree:  1 kB\nSwapTotal:             0 kB\n";
        assert_eq!(meminfo(text, "MemTotal"), Some(24_684_092 << 10));
        assert_eq!(meminfo(text, "Mem"), None);
    }
}
