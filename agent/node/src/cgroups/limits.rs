//! Owns the arithmetic of limits: from what a pod asks for to what is written into its cgroup. Pure.

use k8s_openapi::api::core::v1::Pod;

use crate::spec::Qos;
use crate::spec::requirements::{is_limited, limit, requested};

/// The period of CPU quotas, microseconds.
pub const PERIOD: i64 = 100_000;
/// The fewest CPU shares the kernel takes; what is not asked for gets these.
pub const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;

/// What is written into a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// CPU shares, 1024 being a whole CPU.
    pub shares: u64,
    /// Microseconds of CPU in a [`PERIOD`].
    pub quota: Option<i64>,
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Processes and threads.
    pub pids: Option<i64>,
}

impl Limits {
    /// Those of a pod of the class. `pids` is what any pod may have of processes and threads.
    pub fn of(pod: &Pod, qos: Qos, pids: Option<i64>) -> Self {
        if qos == Qos::BestEffort {
            return Self { pids, ..Self::tier(MIN_SHARES) };
        }
        let binding = |resource: &str| {
            let bound = qos == Qos::Guaranteed || is_limited(pod, resource);
            limit(pod, resource).filter(|limit| bound && !limit.is_zero())
        };
        Self {
            shares: shares(requested(pod, "cpu").milli()),
            quota: binding("cpu").map(|limit| quota(limit.milli())),
            memory: binding("memory").map(|limit| limit.value()),
            pids,
        }
    }

    /// Those of a class: nothing but its share of the CPU.
    pub fn tier(shares: u64) -> Self {
        Self { shares, quota: None, memory: None, pids: None }
    }

    /// File and content, in the unified hierarchy.
    pub fn unified(&self) -> Vec<(&'static str, String)> {
        let bound = |limit: Option<i64>| limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
        vec![
            ("cpu.weight", weight(self.shares).to_string()),
            ("cpu.max", format!("{} {PERIOD}", bound(self.quota))),
            ("memory.max", bound(self.memory)),
            ("pids.max", bound(self.pids)),
        ]
    }

    /// File and content, of one controller of cgroup v1.
    pub fn split(&self, controller: &str) -> Vec<(&'static str, String)> {
        match controller {
            "cpu" => vec![
                ("cpu.shares", self.shares.to_string()),
                ("cpu.cfs_period_us", PERIOD.to_string()),
                ("cpu.cfs_quota_us", self.quota.unwrap_or(-1).to_string()),
            ],
            "memory" => vec![("memory.limit_in_bytes", self.memory.unwrap_or(-1).to_string())],
            "pids" => {
                let pids = self.pids.map_or_else(|| "max".to_owned(), |pids| pids.to_string());
                vec![("pids.max", pids)]
            }
            _ => Vec::new(),
        }
    }
}

/// CPU shares for so many thousandths of a CPU.
pub fn shares(milli: i64) -> u64 {
    u64::try_from(milli).unwrap_or_default().saturating_mul(1024).div_euclid(1000).clamp(MIN_SHARES, MAX_SHARES)
}

/// Microseconds of CPU in a [`PERIOD`] for so many thousandths of a CPU; a hundredth at least.
pub fn quota(milli: i64) -> i64 {
    (milli.saturating_mul(PERIOD) / 1000).max(1000)
}

/// The weight, of 1 to 10000, that shares of 2 to 262144 are in the unified hierarchy.
pub fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(MIN_SHARES, MAX_SHARES) - MIN_SHARES) * 9999 / (MAX_SHARES - MIN_SHARES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shares_quota_and_weight_are_as_the_kubelet_has_them() {
        assert_eq!(shares(0), 2);
        assert_eq!(shares(1), 2);
        assert_eq!(shares(100), 102);
        assert_eq!(shares(1000), 1024);
        assert_eq!(shares(1_000_000), 262_144);
        assert_eq!(quota(1), 1000);
        assert_eq!(quota(100), 10_000);
        assert_eq!(quota(1500), 150_000);
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 39);
        assert_eq!(weight(262_144), 10_000);
    }

    #[test]
    fn a_pod_without_limits_throughout_is_not_bound() {
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [
            { "name": "a", "resources": { "requests": { "cpu": "250m" }, "limits": { "cpu": "1", "memory": "1Mi" } } },
            { "name": "b", "resources": { "limits": { "memory": "2Mi" } } },
        ] } }))
        .unwrap();
        let limits = Limits::of(&pod, crate::spec::qos(&pod), Some(1000));
        assert_eq!(limits, Limits { shares: 256, quota: None, memory: Some(3 << 20), pids: Some(1000) });
        let files = limits.unified();
        assert_eq!(files[0], ("cpu.weight", "10".to_owned()));
        assert_eq!(files[1], ("cpu.max", "max 100000".to_owned()));
        assert_eq!(files[2], ("memory.max", "3145728".to_owned()));
        assert_eq!(limits.split("cpu")[2], ("cpu.cfs_quota_us", "-1".to_owned()));
        assert_eq!(limits.split("pids")[0], ("pids.max", "1000".to_owned()));
        assert_eq!(limits.split("cpuset"), []);
    }

    #[test]
    fn best_effort_pods_get_the_least() {
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [{ "name": "a" }] } })).unwrap();
        assert_eq!(Limits::of(&pod, Qos::BestEffort, None), Limits::tier(2));
    }
}
