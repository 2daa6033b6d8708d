//! Owns which pods must leave before a node can stop, and what the API's refusals mean. Pure.

use k8s_openapi::api::core::v1::Pod;
use kube::core::Status;

/// What is to become of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It must go, and is evicted.
    Evict,
    /// It must go, and is going.
    Going,
    /// It stays: it ends and comes back with the node, or has ended.
    Stay,
}

/// What is to become of a pod. A pod that nothing would start elsewhere stays unless `bare`.
pub fn fate(pod: &Pod, bare: bool) -> Fate {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let annotations = pod.metadata.annotations.as_ref();
    let mirror = annotations.is_some_and(|annotations| annotations.contains_key("kubernetes.io/config.mirror"));
    let owners = pod.metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
    let finished = matches!(phase, Some("Succeeded" | "Failed"));
    let stays = match owner {
        Some(owner) => owner.kind == "DaemonSet" || owner.kind == "Node",
        None => !bare,
    };
    if mirror || finished || stays {
        Fate::Stay
    } else if pod.metadata.deletion_timestamp.is_some() {
        Fate::Going
    } else {
        Fate::Evict
    }
}

/// Why the API does not evict a pod now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A sentence.
    pub why: String,
    /// The disruption budget that forbids it, where one does.
    pub budget: Option<String>,
    /// Seconds after which the API wants to be asked again, where it says.
    pub retry: Option<u32>,
}

/// Reads the API's answer to an eviction; nothing when the pod is gone already.
pub fn refusal(status: &Status) -> Option<Refusal> {
    if status.code == 404 {
        return None;
    }
    let details = status.details.as_ref();
    let causes = details.map_or(&[][..], |details| &details.causes);
    let cause = causes.iter().find(|cause| cause.reason == "DisruptionBudget");
    let words = cause.map(|cause| cause.message.as_str());
    let budget = words.and_then(|words| words.split_once("disruption budget ")?.1.split_whitespace().next());
    Some(Refusal {
        why: words.unwrap_or(&status.message).to_owned(),
        budget: budget.map(str::to_owned),
        retry: details.map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(metadata: Value, phase: &str) -> Pod {
        serde_json::from_value(json!({ "metadata": metadata, "status": { "phase": phase } })).unwrap()
    }

    fn owned(kind: &str) -> Value {
        let owner = json!({ "apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "u", "controller": true });
        json!({ "ownerReferences": [owner] })
    }

    #[test]
    fn what_comes_back_or_has_ended_stays() {
        assert_eq!(fate(&pod(owned("ReplicaSet"), "Running"), false), Fate::Evict);
        assert_eq!(fate(&pod(owned("ReplicaSet"), "Failed"), false), Fate::Stay);
        assert_eq!(fate(&pod(owned("DaemonSet"), "Running"), true), Fate::Stay);
        let mirror = json!({ "annotations": { "kubernetes.io/config.mirror": "x" } });
        assert_eq!(fate(&pod(mirror, "Running"), true), Fate::Stay);
        assert_eq!(fate(&pod(json!({}), "Running"), false), Fate::Stay);
        assert_eq!(fate(&pod(json!({}), "Running"), true), Fate::Evict);
        let mut going = owned("Job");
        going["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(fate(&pod(going, "Running"), false), Fate::Going);
    }

    #[test]
    fn a_budget_is_named() {
        let status: Status = serde_json::from_value(json!({
            "status": "Failure", "code": 429, "reason": "TooManyRequests",
            "message": "Cannot evict pod as it would violate the pod's disruption budget.",
            "details": { "retryAfterSeconds": 10, "causes": [{ "reason": "DisruptionBudget",
                "message": "The disruption budget web needs 2 healthy pods and has 2 currently" }] },
        }))
        .unwrap();
        let refusal = refusal(&status).unwrap();
        assert_eq!(refusal.budget.as_deref(), Some("web"));
        assert_eq!(refusal.why, "The disruption budget web needs 2 healthy pods and has 2 currently");
        assert_eq!(refusal.retry, Some(10));
    }

    #[test]
    fn a_pod_that_is_gone_is_no_refusal() {
        let status =
            |code: u16| -> Status { serde_json::from_value(json!({ "code": code, "message": "no" })).unwrap() };
        assert_eq!(refusal(&status(404)), None);
        assert_eq!(refusal(&status(500)).unwrap().why, "no");
    }
}
