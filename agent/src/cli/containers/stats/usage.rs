//! Owns what a measurement says: processors, memory, network and disks, for a person.

use bollard::models::{ContainerBlkioStats, ContainerMemoryStats, ContainerStatsResponse};
use serde_json::{Value, json};

use super::super::format::size;
use super::super::format::table::short;

/// One container's line.
#[derive(Debug, Clone)]
pub struct Usage {
    id: String,
    name: String,
    cpu: f64,
    memory: u64,
    limit: u64,
    network: (u64, u64),
    disks: (u64, u64),
    processes: u64,
}

impl Usage {
    /// Out of a measurement.
    pub fn new(stats: &ContainerStatsResponse) -> Self {
        let networks = stats.networks.iter().flat_map(|networks| networks.values());
        let network = networks.fold((0, 0), |(rx, tx), one| {
            (rx + one.rx_bytes.unwrap_or_default(), tx + one.tx_bytes.unwrap_or_default())
        });
        Self {
            id: stats.id.clone().unwrap_or_default(),
            name: stats.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned(),
            cpu: cpu(stats),
            memory: stats.memory_stats.as_ref().map(memory).unwrap_or_default(),
            limit: stats.memory_stats.as_ref().and_then(|memory| memory.limit).unwrap_or_default(),
            network,
            disks: stats.blkio_stats.as_ref().map(disks).unwrap_or_default(),
            processes: stats.pids_stats.as_ref().and_then(|pids| pids.current).unwrap_or_default(),
        }
    }

    /// The container.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn share(&self) -> f64 {
        if self.limit == 0 { 0.0 } else { self.memory as f64 / self.limit as f64 * 100.0 }
    }

    /// The cells of its line.
    pub fn cells(&self, whole: bool) -> Vec<String> {
        let pair = |(one, other): (u64, u64)| {
            let text = |bytes: u64| size::decimal(i64::try_from(bytes).unwrap_or(i64::MAX));
            format!("{} / {}", text(one), text(other))
        };
        vec![
            if whole { &self.id } else { short(&self.id) }.to_owned(),
            self.name.clone(),
            format!("{:.2}%", self.cpu),
            format!("{} / {}", size::binary(self.memory), size::binary(self.limit)),
            format!("{:.2}%", self.share()),
            pair(self.network),
            pair(self.disks),
            self.processes.to_string(),
        ]
    }

    /// Its line as an object.
    pub fn object(&self, whole: bool) -> Value {
        let cells = self.cells(whole);
        json!({
            "BlockIO": cells[6], "CPUPerc": cells[2], "Container": cells[0], "ID": cells[0], "MemPerc": cells[4],
            "MemUsage": cells[3], "Name": cells[1], "NetIO": cells[5], "PIDs": cells[7],
        })
    }
}

/// Per cent of one processor, since the measurement before.
fn cpu(stats: &ContainerStatsResponse) -> f64 {
    let (Some(now), Some(before)) = (&stats.cpu_stats, &stats.precpu_stats) else { return 0.0 };
    let used = |stats: &bollard::models::ContainerCpuStats| {
        stats.cpu_usage.as_ref().and_then(|usage| usage.total_usage).unwrap_or_default() as f64
    };
    let all = |stats: &bollard::models::ContainerCpuStats| stats.system_cpu_usage.unwrap_or_default() as f64;
    let (own, system) = (used(now) - used(before), all(now) - all(before));
    let processors = now.online_cpus.filter(|count| *count > 0).unwrap_or(1);
    if own > 0.0 && system > 0.0 { own / system * f64::from(processors) * 100.0 } else { 0.0 }
}

/// Without what the kernel caches and would give back.
fn memory(memory: &ContainerMemoryStats) -> u64 {
    let usage = memory.usage.unwrap_or_default();
    let stats = memory.stats.as_ref();
    let cached = ["total_inactive_file", "inactive_file"].iter().find_map(|name| stats?.get(*name).copied());
    cached.filter(|cached| *cached < usage).map_or(usage, |cached| usage - cached)
}

fn disks(disks: &ContainerBlkioStats) -> (u64, u64) {
    let of = |wanted: &str| {
        let entries = disks.io_service_bytes_recursive.iter().flatten();
        let entries = entries.filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(wanted)));
        entries.map(|entry| entry.value.unwrap_or_default()).sum()
    };
    (of("read"), of("write"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let stats: ContainerStatsResponse = serde_json::from_value(json!({
            "id": "0123456789abcdef", "name": "/web",
            "cpu_stats": { "cpu_usage": { "total_usage": 300 }, "system_cpu_usage": 2000, "online_cpus": 2 },
            "precpu_stats": { "cpu_usage": { "total_usage": 100 }, "system_cpu_usage": 1000 },
            "memory_stats": { "usage": 3145728, "limit": 4194304, "stats": { "inactive_file": 1048576 } },
            "networks": { "eth0": { "rx_bytes": 1000, "tx_bytes": 10 }, "eth1": { "rx_bytes": 500 } },
            "blkio_stats": { "io_service_bytes_recursive": [{ "op": "Read", "value": 4096 }, { "op": "write", "value": 5 }] },
            "pids_stats": { "current": 3 },
        }))
        .unwrap();
        let cells = Usage::new(&stats).cells(false);
        assert_eq!(cells, ["0123456789ab", "web", "40.00%", "2MiB / 4MiB", "50.00%", "1.5kB / 10B", "4.1kB / 5B", "3"]);
        let nothing = Usage::new(&ContainerStatsResponse::default()).cells(false);
        assert_eq!(nothing[2..], ["0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]);
    }
}
