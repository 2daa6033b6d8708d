//! Owns [`Reporter`], the one writer of pod statuses: the newest status of each pod, only what differs
//! from what was written, again and again until the API takes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Patch, PatchParams, Request};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, Semaphore};

/// Statuses that are written at once.
const AT_ONCE: usize = 16;
/// Between two attempts, at first and at the most.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(20));

/// A pod in the API whose status is written: for a static pod its mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID, which a later pod of that name does not have.
    pub uid: String,
}

impl Target {
    /// The pod itself.
    pub fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }
}

#[derive(Default)]
struct Entry {
    /// What the API has, as far as known.
    written: Value,
    /// What it shall have.
    wanted: Option<(Target, Value)>,
    busy: bool,
    gone: bool,
}

struct Inner {
    client: kube::Client,
    pods: Mutex<HashMap<String, Entry>>,
    permits: Semaphore,
    settled: Notify,
}

/// Writes pod statuses. Clones are the same writer.
#[derive(Clone)]
pub struct Reporter(Arc<Inner>);

impl Reporter {
    /// A writer by way of `client`.
    pub fn new(client: kube::Client) -> Self {
        let permits = Semaphore::new(AT_ONCE);
        Self(Arc::new(Inner { client, pods: Mutex::default(), permits, settled: Notify::new() }))
    }

    /// The API has this status of the pod: what it had when this node first saw it, or what somebody
    /// else made of it.
    pub fn known(&self, uid: &str, status: &PodStatus) {
        let value = serde_json::to_value(status).unwrap_or_default();
        let mut pods = self.pods();
        let entry = pods.entry(uid.to_owned()).or_default();
        if !entry.busy && entry.wanted.is_none() {
            entry.written = value;
        }
    }

    /// Has a status written, in the background.
    pub fn report(&self, uid: &str, target: Target, status: &PodStatus) {
        let value = serde_json::to_value(status).unwrap_or_default();
        let mut pods = self.pods();
        let entry = pods.entry(uid.to_owned()).or_default();
        if entry.gone || (entry.wanted.is_none() && entry.written == value) {
            return;
        }
        entry.wanted = Some((target, value));
        if !std::mem::replace(&mut entry.busy, true) {
            let (reporter, uid) = (self.clone(), uid.to_owned());
            tokio::spawn(async move { reporter.write(&uid).await });
        }
    }

    /// Returns when the newest status of the pod is written, or the pod is not in the API any more.
    pub async fn settled(&self, uid: &str) {
        loop {
            let notified = self.0.settled.notified();
            if self.pods().get(uid).is_none_or(|entry| entry.gone || (!entry.busy && entry.wanted.is_none())) {
                return;
            }
            notified.await;
        }
    }

    /// Forgets a pod.
    pub fn forget(&self, uid: &str) {
        self.pods().remove(uid);
        self.0.settled.notify_waiters();
    }

    async fn write(&self, uid: &str) {
        let mut retry = RETRY.0;
        while let Some((target, wanted, patch)) = self.next(uid) {
            let permit = self.0.permits.acquire().await;
            let result = self.patch(&target, patch).await;
            drop(permit);
            match result {
                Ok(()) => {
                    retry = RETRY.0;
                    self.done(uid, wanted);
                }
                Err(kube::Error::Api(status)) if is_another(&status) => {
                    tracing::debug!(uid, %status, "the pod is not there any more, or is another one");
                    self.gone(uid);
                    return;
                }
                Err(error) => {
                    match &error {
                        // A fault of ours: not one that time mends, but a later status may be well.
                        kube::Error::Api(status) if status.code == 422 && retry == RETRY.0 => {
                            tracing::warn!(uid, pod = target.name, %error, "the API refuses the pod's status");
                        }
                        _ => tracing::debug!(uid, %error, "cannot write the status yet"),
                    }
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY.1);
                }
            }
        }
    }

    /// What is to be written; ends the writing when there is nothing.
    fn next(&self, uid: &str) -> Option<(Target, Value, Value)> {
        let mut pods = self.pods();
        let entry = pods.get_mut(uid)?;
        let found = entry.wanted.as_ref().and_then(|(target, wanted)| {
            difference(&entry.written, wanted).map(|patch| (target.clone(), wanted.clone(), patch))
        });
        if found.is_none() {
            entry.wanted = None;
            entry.busy = false;
            drop(pods);
            self.0.settled.notify_waiters();
        }
        found
    }

    fn done(&self, uid: &str, written: Value) {
        let mut pods = self.pods();
        if let Some(entry) = pods.get_mut(uid) {
            if entry.wanted.as_ref().is_some_and(|(_, wanted)| *wanted == written) {
                entry.wanted = None;
            }
            entry.written = written;
        }
    }

    fn gone(&self, uid: &str) {
        if let Some(entry) = self.pods().get_mut(uid) {
            *entry = Entry { gone: true, ..Entry::default() };
        }
        self.0.settled.notify_waiters();
    }

    async fn patch(&self, target: &Target, status: Value) -> Result<(), kube::Error> {
        // The UID makes the API refuse what is meant for an earlier pod of that name.
        let patch = json!({ "metadata": { "uid": target.uid }, "status": status });
        let url = format!("/api/v1/namespaces/{}/pods", target.namespace);
        let request = Request::new(url).patch_subresource(
            "status",
            &target.name,
            &PatchParams::default(),
            &Patch::Strategic(patch),
        );
        let request = request.map_err(kube::Error::BuildRequest)?;
        // The answer is not needed, and parsing it would cost.
        self.0.client.request_text(request).await.map(drop)
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the pod that was meant is not in the API any more; another one may have its name.
fn is_another(status: &kube::core::Status) -> bool {
    let of_uid = || {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.field == "metadata.uid")
    };
    matches!(status.code, 404 | 409) || (status.code == 422 && of_uid())
}

/// The strategic merge patch from one status to another; nothing when they are the same.
fn difference(written: &Value, wanted: &Value) -> Option<Value> {
    let empty = Map::new();
    let (old, new) = (written.as_object().unwrap_or(&empty), wanted.as_object().unwrap_or(&empty));
    let mut patch = Map::new();
    for (key, value) in new {
        match (key.as_str(), old.get(key)) {
            (_, Some(before)) if before == value => {}
            ("conditions", Some(before)) => {
                patch.insert(key.clone(), conditions(before, value));
            }
            // Merged by address, the pod would have those of before as well.
            ("podIPs" | "hostIPs", Some(_)) => {
                let mut whole = vec![json!({ "$patch": "replace" })];
                whole.extend(value.as_array().into_iter().flatten().cloned());
                patch.insert(key.clone(), Value::Array(whole));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The API merges conditions by type: those that differ are sent, those that are no more are deleted.
fn conditions(old: &Value, new: &Value) -> Value {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (old, new) = (list(old), list(new));
    let mut patch: Vec<Value> = new.iter().filter(|condition| !old.contains(condition)).cloned().collect();
    for condition in old {
        if !new.iter().any(|other| other["type"] == condition["type"]) {
            patch.push(json!({ "type": condition["type"], "$patch": "delete" }));
        }
    }
    Value::Array(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_sent() {
        let old = json!({ "phase": "Pending", "message": "m", "podIP": "10.0.0.1", "conditions": [
            { "type": "Ready", "status": "False" }, { "type": "PodScheduled", "status": "True" }, { "type": "Mine" } ] });
        let new = json!({ "phase": "Running", "podIP": "10.0.0.1", "conditions": [
            { "type": "Ready", "status": "True" }, { "type": "PodScheduled", "status": "True" } ] });
        assert_eq!(difference(&old, &old), None);
        let patch = json!({ "phase": "Running", "message": null, "conditions": [
            { "type": "Ready", "status": "True" }, { "type": "Mine", "$patch": "delete" } ] });
        assert_eq!(difference(&old, &new), Some(patch));
    }

    #[test]
    fn addresses_take_the_place_of_those_before() {
        let of = |ip: &str| json!({ "podIP": ip, "podIPs": [{ "ip": ip }] });
        let patch = json!({ "podIP": "10.0.0.2", "podIPs": [{ "$patch": "replace" }, { "ip": "10.0.0.2" }] });
        assert_eq!(difference(&of("10.0.0.1"), &of("10.0.0.2")), Some(patch));
    }

    #[test]
    fn a_status_that_is_refused_is_not_a_pod_that_is_gone() {
        let refused = |code: u16, field: &str| {
            let text = json!({ "code": code, "details": { "causes": [{ "field": field }] } });
            is_another(&serde_json::from_value(text).unwrap())
        };
        assert!(refused(404, "") && refused(409, "") && refused(422, "metadata.uid"));
        assert!(!refused(422, "status.podIPs") && !refused(500, ""));
    }
}
