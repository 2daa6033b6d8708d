//! Measures containers: their cgroups and their network, as the kernel counts them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::models::{
    ContainerBlkioStatEntry, ContainerBlkioStats, ContainerCpuStats, ContainerCpuUsage, ContainerMemoryStats,
    ContainerNetworkStats, ContainerPidsStats, ContainerStatsResponse, ContainerThrottlingData,
};

use super::Engine;
use super::container::Container;
use super::moment::Moment;

const CGROUPS: &str = "/sys/fs/cgroup";
/// How many of `/proc/stat`'s units a second has, on every Linux.
const TICKS: u64 = 100;

impl Engine {
    /// Measures a container; `before` is its last measurement. Of one that does not run there is
    /// nothing to measure.
    pub fn measure(&self, container: &Container, before: Option<&ContainerStatsResponse>) -> ContainerStatsResponse {
        let state = container.state();
        let mut stats = ContainerStatsResponse {
            id: Some(container.id().to_owned()),
            name: Some(format!("/{}", container.name())),
            os_type: Some("linux".to_owned()),
            read: Some(Moment::now().to_string()),
            preread: Some(before.and_then(|before| before.read.clone()).unwrap_or_else(|| super::NEVER.to_owned())),
            precpu_stats: Some(before.and_then(|before| before.cpu_stats.clone()).unwrap_or_default()),
            num_procs: Some(0),
            cpu_stats: Some(ContainerCpuStats::default()),
            memory_stats: Some(ContainerMemoryStats::default()),
            pids_stats: Some(ContainerPidsStats::default()),
            blkio_stats: Some(ContainerBlkioStats::default()),
            ..ContainerStatsResponse::default()
        };
        if state.status.alive() {
            let groups = Groups::of(state.pid, self.unified);
            stats.cpu_stats = Some(groups.cpu());
            stats.memory_stats = Some(groups.memory());
            stats.pids_stats = Some(groups.pids());
            stats.blkio_stats = Some(groups.blkio());
            stats.networks = Some(interfaces(&text(Path::new(&format!("/proc/{}/net/dev", state.pid)))))
                .filter(|_| self.network.find(container.id()).is_some_and(|attached| attached.netns.is_some()))
                .filter(|interfaces| !interfaces.is_empty());
        }
        stats
    }
}

/// The cgroups of a container: one, or with cgroup v1 one for each controller.
struct Groups {
    unified: Option<PathBuf>,
    controllers: HashMap<String, PathBuf>,
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn number(path: &Path) -> Option<u64> {
    text(path).trim().parse().ok()
}

impl Groups {
    fn of(pid: u32, unified: bool) -> Self {
        Self::parse(&text(Path::new(&format!("/proc/{pid}/cgroup"))), unified)
    }

    fn parse(lines: &str, unified: bool) -> Self {
        let mut groups = Self { unified: None, controllers: HashMap::new() };
        for line in lines.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(names), Some(path)) = (fields.next(), fields.next()) else { continue };
            let path = path.trim_start_matches('/');
            if names.is_empty() && unified {
                groups.unified = Some(Path::new(CGROUPS).join(path));
            }
            for name in names.split(',').filter(|name| !name.is_empty()) {
                groups.controllers.insert(name.to_owned(), Path::new(CGROUPS).join(name).join(path));
            }
        }
        groups
    }

    /// A file of the unified cgroup, or of a controller's.
    fn file(&self, unified: &str, controller: &str, name: &str) -> PathBuf {
        match &self.unified {
            Some(group) => group.join(unified),
            None => self.controllers.get(controller).map(|group| group.join(name)).unwrap_or_default(),
        }
    }

    fn cpu(&self) -> ContainerCpuStats {
        let stat = pairs(&text(&self.file("cpu.stat", "cpu", "cpu.stat")));
        let of = |key: &str| stat.get(key).copied().unwrap_or(0);
        let (usage, throttled) = match self.unified {
            Some(_) => {
                let usage = [of("usage_usec"), of("system_usec"), of("user_usec")].map(|micros| micros * 1000);
                (usage, of("throttled_usec") * 1000)
            }
            None => {
                let of = |name: &str| number(&self.file("", "cpuacct", name)).unwrap_or(0);
                ([of("cpuacct.usage"), of("cpuacct.usage_sys"), of("cpuacct.usage_user")], of("throttled_time"))
            }
        };
        let [total, kernel, user] = usage;
        ContainerCpuStats {
            cpu_usage: Some(ContainerCpuUsage {
                total_usage: Some(total),
                percpu_usage: None,
                usage_in_kernelmode: Some(kernel),
                usage_in_usermode: Some(user),
            }),
            system_cpu_usage: Some(host_cpu(&text(Path::new("/proc/stat")))),
            online_cpus: std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()),
            throttling_data: Some(ContainerThrottlingData {
                periods: Some(of("nr_periods")),
                throttled_periods: Some(of("nr_throttled")),
                throttled_time: Some(throttled),
            }),
        }
    }

    fn memory(&self) -> ContainerMemoryStats {
        let total = pairs(&text(Path::new("/proc/meminfo"))).get("MemTotal:").copied().unwrap_or(0) * 1024;
        // No limit is `max`, or a number that no machine has.
        let limit = number(&self.file("memory.max", "memory", "memory.limit_in_bytes"));
        ContainerMemoryStats {
            usage: number(&self.file("memory.current", "memory", "memory.usage_in_bytes")),
            limit: Some(limit.unwrap_or(u64::MAX).min(total)),
            stats: Some(pairs(&text(&self.file("memory.stat", "memory", "memory.stat")))),
            max_usage: self
                .unified
                .is_none()
                .then(|| number(&self.file("", "memory", "memory.max_usage_in_bytes")))
                .flatten(),
            failcnt: self.unified.is_none().then(|| number(&self.file("", "memory", "memory.failcnt"))).flatten(),
            ..ContainerMemoryStats::default()
        }
    }

    fn pids(&self) -> ContainerPidsStats {
        ContainerPidsStats {
            current: number(&self.file("pids.current", "pids", "pids.current")),
            // `max` is 2^64-1 in Docker's answers.
            limit: Some(number(&self.file("pids.max", "pids", "pids.max")).unwrap_or(u64::MAX)),
        }
    }

    fn blkio(&self) -> ContainerBlkioStats {
        let lines = match &self.unified {
            Some(group) => io_lines(&text(&group.join("io.stat"))),
            None => blkio_lines(&text(&self.file("", "blkio", "blkio.throttle.io_service_bytes"))),
        };
        ContainerBlkioStats { io_service_bytes_recursive: Some(lines), ..ContainerBlkioStats::default() }
    }
}

/// `KEY VALUE` lines; what follows is a unit.
fn pairs(text: &str) -> HashMap<String, u64> {
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Nanoseconds that all processors of the host have spent, idle too.
fn host_cpu(stat: &str) -> u64 {
    let first = stat.lines().next().unwrap_or_default();
    let ticks: u64 = first.split_whitespace().skip(1).take(8).filter_map(|word| word.parse::<u64>().ok()).sum();
    ticks * (1_000_000_000 / TICKS)
}

fn entry(device: &str, op: &str, value: u64) -> Option<ContainerBlkioStatEntry> {
    let (major, minor) = device.split_once(':')?;
    Some(ContainerBlkioStatEntry {
        major: major.parse().ok(),
        minor: minor.parse().ok(),
        op: Some(op.to_owned()),
        value: Some(value),
    })
}

/// `8:0 rbytes=1 wbytes=2 …`
fn io_lines(text: &str) -> Vec<ContainerBlkioStatEntry> {
    let line = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let of = |key: &str| rest.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
        Some([entry(device, "read", of("rbytes")?)?, entry(device, "write", of("wbytes")?)?])
    };
    text.lines().filter_map(line).flatten().collect()
}

/// `8:0 Read 1`
fn blkio_lines(text: &str) -> Vec<ContainerBlkioStatEntry> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (device, op, value) = (words.next()?, words.next()?, words.next()?);
        matches!(op, "Read" | "Write").then(|| entry(device, &op.to_ascii_lowercase(), value.parse().ok()?))?
    };
    text.lines().filter_map(line).collect()
}

/// What `/proc/PID/net/dev` says of all interfaces but loopback.
fn interfaces(text: &str) -> HashMap<String, ContainerNetworkStats> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let numbers: Vec<u64> = rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let at = |index: usize| numbers.get(index).copied();
        let stats = ContainerNetworkStats {
            rx_bytes: at(0),
            rx_packets: at(1),
            rx_errors: at(2),
            rx_dropped: at(3),
            tx_bytes: at(8),
            tx_packets: at(9),
            tx_errors: at(10),
            tx_dropped: at(11),
            ..ContainerNetworkStats::default()
        };
        Some((name.trim().to_owned(), stats)).filter(|(name, _)| name != "lo")
    };
    text.lines().skip(2).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_kinds() {
        let unified = Groups::parse("0::/keelson.slice/keelson-1.scope\n", true);
        assert_eq!(
            unified.file("memory.current", "memory", "x"),
            Path::new("/sys/fs/cgroup/keelson.slice/keelson-1.scope/memory.current")
        );
        let hybrid = Groups::parse("4:memory:/k/1\n3:cpu,cpuacct:/k/1\n0::/\n", false);
        assert_eq!(hybrid.file("", "cpuacct", "cpuacct.usage"), Path::new("/sys/fs/cgroup/cpuacct/k/1/cpuacct.usage"));
    }

    #[test]
    fn counters() {
        assert_eq!(pairs("usage_usec 12\nbad\nMemTotal: 5 kB\n").get("MemTotal:"), Some(&5));
        assert_eq!(host_cpu("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n"), 36 * 10_000_000);
        let io = io_lines("8:0 rbytes=10 wbytes=20 rios=1\n");
        assert_eq!((io[0].value, io[1].op.as_deref(), io[1].minor), (Some(10), Some("write"), Some(0)));
        assert_eq!(blkio_lines("8:0 Read 5\n8:0 Sync 9\nTotal 5\n").len(), 1);
    }

    #[test]
    fn networks_without_loopback() {
        let text = "a\nb\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 7 6 5 4 0 0 0 0 3 2 1 0 0 0 0 0\n";
        let all = interfaces(text);
        assert_eq!(all.len(), 1);
        assert_eq!((all["eth0"].rx_bytes, all["eth0"].tx_bytes, all["eth0"].tx_errors), (Some(7), Some(3), Some(1)));
    }
}
