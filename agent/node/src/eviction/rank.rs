//! Owns who is ended first: who uses more than requested, then who matters least, then who uses most
//! beyond the request. Pure.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::pods::PodView;
use crate::spec::requirements::requested;

use super::decide::Resource;
use super::usage::Used;

/// Pods, the first to be ended first. Those that could not be measured come before others: they may be
/// what is wrong.
pub fn rank<'a>(pods: &'a [Arc<PodView>], used: &HashMap<String, Used>, resource: Resource) -> Vec<&'a Arc<PodView>> {
    let mut ranked: Vec<_> = pods.iter().collect();
    ranked.sort_by_cached_key(|pod| {
        let used = used.get(pod.uid()).map(|used| i128::from(used.total));
        let requested = match resource {
            Resource::Memory | Resource::Disk => i128::from(requested(&pod.pod, resource.name()).value()),
            Resource::Inodes | Resource::Pids => 0,
        };
        let priority = pod.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default();
        // Nobody requests processes: more than none is no offence.
        let exceeds = resource != Resource::Pids && used.is_some_and(|used| used > requested);
        (used.is_some(), !exceeds, priority, Reverse(used.map(|used| used - requested)))
    });
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn pod(uid: &str, priority: i32, memory: &str) -> Arc<PodView> {
        let resources = json!({ "requests": { "memory": memory } });
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "uid": uid },
            "spec": { "priority": priority, "containers": [{ "name": "c", "resources": resources }] },
        }))
        .unwrap();
        Arc::new(PodView::of(pod, Default::default()))
    }

    fn ranked(pods: &[Arc<PodView>], used: &[(&str, u64)], resource: Resource) -> Vec<String> {
        let used = used.iter().map(|(uid, total)| (uid.to_string(), Used { total: *total, containers: Vec::new() }));
        rank(pods, &used.collect(), resource).iter().map(|pod| pod.uid().to_owned()).collect()
    }

    #[test]
    fn who_exceeds_then_who_matters_least_then_who_uses_most() {
        let pods = [
            pod("within", 0, "1000"),
            pod("important", 9, "10"),
            pod("little", 0, "10"),
            pod("much", 0, "10"),
            pod("unknown", 9, "10"),
        ];
        let used = [("within", 900), ("important", 800), ("little", 20), ("much", 500)];
        let order = ranked(&pods, &used, Resource::Memory);
        assert_eq!(order, ["unknown", "much", "little", "important", "within"]);
    }

    #[test]
    fn processes_are_ranked_by_priority_and_number() {
        let pods = [pod("important", 9, "0"), pod("few", 0, "0"), pod("many", 0, "0")];
        let order = ranked(&pods, &[("important", 999), ("few", 1), ("many", 50)], Resource::Pids);
        assert_eq!(order, ["many", "few", "important"]);
    }
}
