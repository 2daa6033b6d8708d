//! Owns the limits that containers and sandboxes are made with: CPU shares and quota, memory, huge
//! pages, and the score by which the kernel picks whom to kill. Pure but for facts of the host.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::host::{self, Host};
use super::quantity::Amount;
use super::requirements::{self, Amounts, Qos};
use crate::cri::v1;

/// The period of CPU quotas, in microseconds.
const PERIOD: i64 = 100_000;
/// The least that a quota may be, in microseconds.
const LEAST_QUOTA: i64 = 1000;
const LEAST_SHARES: i64 = 2;
const MOST_SHARES: i64 = 262_144;
/// What the kernel adds to the score of a process that it should kill last, and first.
const LAST: i64 = -997;
const FIRST: i64 = 1000;

/// The limits of a container.
pub(super) fn container(pod: &Pod, container: &Container, host: &Host) -> v1::LinuxContainerResources {
    let requests = requirements::requests(container);
    let limits = with_the_pods(requirements::limits(container), pod);
    let mut resources = cpu_and_memory(requests.get("cpu").copied(), &limits, host);
    resources.oom_score_adj = oom_score(pod, container, host.memory);
    resources.hugepage_limits = huge_pages(&limits, &host.huge_pages);
    if host.swap {
        resources.memory_swap_limit_in_bytes = resources.memory_limit_in_bytes;
    }
    resources
}

/// The limits of a pod as a whole; a hint for runtimes that make a machine of it.
pub(super) fn sandbox(pod: &Pod) -> v1::LinuxContainerResources {
    let requests = requirements::pod_requests_without_overhead(pod);
    let limits = requirements::pod_limits_without_overhead(pod);
    cpu_and_memory(requests.get("cpu").copied(), &limits, host::facts())
}

/// What the runtime takes for itself; it is requested and limited alike.
pub(super) fn overhead(pod: &Pod) -> v1::LinuxContainerResources {
    let overhead = requirements::overhead(pod);
    match overhead.is_empty() {
        true => v1::LinuxContainerResources::default(),
        false => cpu_and_memory(overhead.get("cpu").copied(), &overhead, host::facts()),
    }
}

/// Where the container has no limit of its own, that of the pod holds.
fn with_the_pods(mut limits: Amounts, pod: &Pod) -> Amounts {
    for (name, amount) in requirements::whole(pod, |resources| resources.limits.as_ref()) {
        let own = limits.entry(name).or_default();
        if own.is_zero() {
            *own = amount;
        }
    }
    limits
}

fn cpu_and_memory(cpu_request: Option<Amount>, limits: &Amounts, host: &Host) -> v1::LinuxContainerResources {
    let limit = |name: &str| limits.get(name).copied().unwrap_or_default();
    let unified = match host.unified {
        // All that runs in a container ends when its memory does, not some of it.
        true => HashMap::from([("memory.oom.group".to_owned(), "1".to_owned())]),
        false => HashMap::new(),
    };
    v1::LinuxContainerResources {
        cpu_shares: shares(cpu_request.unwrap_or(limit("cpu")).milli()),
        cpu_period: PERIOD,
        cpu_quota: quota(limit("cpu").milli()),
        memory_limit_in_bytes: limit("memory").value(),
        unified,
        ..Default::default()
    }
}

fn shares(milli: i64) -> i64 {
    (milli.saturating_mul(1024) / 1000).clamp(LEAST_SHARES, MOST_SHARES)
}

fn quota(milli: i64) -> i64 {
    match milli {
        0 => 0,
        milli => (milli.saturating_mul(PERIOD) / 1000).max(LEAST_QUOTA),
    }
}

/// A limit for every size that the host has, so that nobody uses pages that they did not ask for.
fn huge_pages(limits: &Amounts, sizes: &[String]) -> Vec<v1::HugepageLimit> {
    let asked: BTreeMap<String, u64> = limits
        .iter()
        .filter_map(|(name, amount)| {
            let size = u64::try_from(Amount::parse(name.strip_prefix("hugepages-")?)?.value()).ok()?;
            Some((host::size_name(size), u64::try_from(amount.value()).unwrap_or_default()))
        })
        .collect();
    let limit = |size: &String| asked.get(size).copied().unwrap_or_default();
    sizes.iter().map(|size| v1::HugepageLimit { page_size: size.clone(), limit: limit(size) }).collect()
}

/// Guaranteed containers are killed last and best-effort ones first; between them the less of the
/// memory a container requests, the sooner.
fn oom_score(pod: &Pod, container: &Container, capacity: i64) -> i64 {
    match requirements::qos(pod) {
        _ if is_node_critical(pod) => LAST,
        Qos::Guaranteed => LAST,
        Qos::BestEffort => FIRST,
        Qos::Burstable => burstable_score(pod, container, capacity.max(1)),
    }
}

fn burstable_score(pod: &Pod, container: &Container, capacity: i64) -> i64 {
    let memory = |amounts: &Amounts| amounts.get("memory").copied().unwrap_or_default().value();
    let Some(spec) = &pod.spec else { return FIRST };
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let whole = memory(&requirements::whole(pod, |resources| resources.requests.as_ref()));
    // What the pod requests beyond its containers is theirs in equal parts.
    let share = match i64::try_from(spec.containers.len() + inits.len()) {
        Ok(count) if whole > 0 && count > 0 => (whole - memory(&requirements::container_requests(pod))) / count,
        _ => 0,
    };
    let score = |request: i64| {
        let part = i128::from(request) * 1000 / i128::from(capacity);
        i64::try_from(i128::from(FIRST) - part).unwrap_or(FIRST)
    };
    let mut own = score(memory(&requirements::requests(container)).saturating_add(share));
    let is_sidecar = requirements::is_sidecar(container) && inits.iter().any(|init| init.name == container.name);
    if is_sidecar {
        // A sidecar outlives the least of those that it serves.
        let least = spec.containers.iter().map(|app| memory(&requirements::requests(app))).min().unwrap_or_default();
        own = own.min(score(least.saturating_add(share)));
    }
    own.clamp(FIRST + LAST, FIRST - 1)
}

/// Whether the node cannot do without the pod.
fn is_node_critical(pod: &Pod) -> bool {
    let class = pod.spec.as_ref().and_then(|spec| spec.priority_class_name.as_deref());
    class == Some("system-node-critical") && super::admission::is_critical(pod)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const GIB: i64 = 1 << 30;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn host() -> Host {
        Host { memory: 10 * GIB, huge_pages: vec!["2MB".into(), "1GB".into()], swap: true, ..Default::default() }
    }

    fn first(pod: &Pod) -> v1::LinuxContainerResources {
        container(pod, &pod.spec.as_ref().unwrap().containers[0], &host())
    }

    #[test]
    fn a_best_effort_container_has_no_limits() {
        let resources = first(&pod(json!({"containers": [{"name": "a"}]})));
        assert_eq!(resources.cpu_shares, 2);
        assert_eq!(resources.cpu_quota, 0);
        assert_eq!(resources.cpu_period, 100_000);
        assert_eq!(resources.memory_limit_in_bytes, 0);
        assert_eq!(resources.memory_swap_limit_in_bytes, 0);
        assert_eq!(resources.oom_score_adj, 1000);
        assert!(resources.unified.is_empty());
    }

    #[test]
    fn limits_are_taken_over() {
        let resources = json!({"requests": {"cpu": "250m", "memory": "1Gi"},
            "limits": {"cpu": "1", "memory": "2Gi", "hugepages-2Mi": "4Mi"}});
        let resources = first(&pod(json!({"containers": [{"name": "a", "resources": resources}]})));
        assert_eq!(resources.cpu_shares, 256);
        assert_eq!(resources.cpu_quota, 100_000);
        assert_eq!(resources.memory_limit_in_bytes, 2 * GIB);
        assert_eq!(resources.memory_swap_limit_in_bytes, 2 * GIB);
        assert_eq!(resources.oom_score_adj, 900);
        let pages = |size: &str, limit| v1::HugepageLimit { page_size: size.into(), limit };
        assert_eq!(resources.hugepage_limits, [pages("2MB", 4 << 20), pages("1GB", 0)]);
    }

    #[test]
    fn a_limit_alone_is_requested_too() {
        let resources = json!({"limits": {"cpu": "5m"}});
        let resources = first(&pod(json!({"containers": [{"name": "a", "resources": resources}]})));
        assert_eq!(resources.cpu_shares, 5);
        assert_eq!(resources.cpu_quota, 1000);
    }

    #[test]
    fn the_pods_limit_holds_where_there_is_none() {
        let spec = json!({
            "containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}],
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        });
        let resources = first(&pod(spec));
        assert_eq!(resources.cpu_quota, 100_000);
        assert_eq!(resources.memory_limit_in_bytes, GIB);
    }

    #[test]
    fn scores_stay_between_the_other_classes() {
        let score = |memory: &str| {
            let resources = json!({"requests": {"memory": memory}});
            first(&pod(json!({"containers": [{"name": "a", "resources": resources}]}))).oom_score_adj
        };
        assert_eq!(score("1"), 999);
        assert_eq!(score("5Gi"), 500);
        assert_eq!(score("20Gi"), 3);
    }

    #[test]
    fn guaranteed_and_node_critical_are_killed_last() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        let full = json!({"requests": full, "limits": full});
        assert_eq!(first(&pod(json!({"containers": [{"name": "a", "resources": full}]}))).oom_score_adj, -997);
        let critical = json!({"containers": [{"name": "a"}],
            "priorityClassName": "system-node-critical", "priority": 2_000_001_000});
        assert_eq!(first(&pod(critical)).oom_score_adj, -997);
    }

    #[test]
    fn a_sidecar_lives_as_long_as_those_it_serves() {
        let spec = json!({
            "containers": [{"name": "a", "resources": {"requests": {"memory": "5Gi"}}}],
            "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}],
        });
        let pod = pod(spec);
        let inits = pod.spec.as_ref().unwrap().init_containers.as_ref().unwrap();
        assert_eq!(container(&pod, &inits[0], &host()).oom_score_adj, 500);
        assert_eq!(container(&pod, &inits[1], &host()).oom_score_adj, 999);
    }

    #[test]
    fn what_the_pod_requests_beyond_its_containers_is_shared() {
        let spec = json!({
            "containers": [{"name": "a", "resources": {"requests": {"memory": "1Gi"}}}, {"name": "b"}],
            "resources": {"requests": {"memory": "5Gi"}},
        });
        assert_eq!(first(&pod(spec)).oom_score_adj, 700);
    }

    #[test]
    fn on_unified_cgroups_a_container_is_killed_as_a_whole() {
        let pod = pod(json!({"containers": [{"name": "a"}]}));
        let host = Host { unified: true, ..host() };
        let resources = container(&pod, &pod.spec.as_ref().unwrap().containers[0], &host);
        assert_eq!(resources.unified["memory.oom.group"], "1");
    }

    #[test]
    fn overhead_is_requested_and_limited() {
        let spec = json!({"containers": [{"name": "a"}], "overhead": {"cpu": "250m", "memory": "64Mi"}});
        let resources = overhead(&pod(spec));
        assert_eq!((resources.cpu_shares, resources.cpu_quota), (256, 25_000));
        assert_eq!(resources.memory_limit_in_bytes, 64 << 20);
    }
}
