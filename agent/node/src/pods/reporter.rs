//! Owns [`Reporter`], the one writer of pod statuses: the newest status of each pod, only what differs
//! from what the API has, again and again until the API takes it.

mod entry;
mod patch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Patch, PatchParams, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

use entry::{Entry, Write};

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

    /// The API showed this pod: for a static pod its mirror. What it has of the status is what it is
    /// compared with from now on, whoever wrote that.
    pub fn known(&self, uid: &str, shown: &Pod) {
        let target = shown.metadata.uid.as_deref().unwrap_or_default();
        let version = shown.metadata.resource_version.as_deref().and_then(version);
        let status = shown.status.as_ref().map(serde_json::to_value);
        let status = status.and_then(Result::ok).unwrap_or_default();
        self.pods().entry(uid.to_owned()).or_default().saw(target, version, status);
    }

    /// Has a status written, in the background.
    pub fn report(&self, uid: &str, target: Target, status: &PodStatus) {
        let value = serde_json::to_value(status).unwrap_or_default();
        if self.pods().entry(uid.to_owned()).or_default().want(target, value) {
            let (reporter, uid) = (self.clone(), uid.to_owned());
            tokio::spawn(async move { reporter.write(&uid).await });
        }
    }

    /// Returns when the newest status of the pod is written, or the pod is not in the API any more.
    pub async fn settled(&self, uid: &str) {
        loop {
            let notified = self.0.settled.notified();
            if self.is_settled(uid) {
                return;
            }
            notified.await;
        }
    }

    /// Whether the newest status of the pod is written, or the pod is not in the API any more.
    pub fn is_settled(&self, uid: &str) -> bool {
        self.pods().get(uid).is_none_or(Entry::settled)
    }

    /// Forgets a pod.
    pub fn forget(&self, uid: &str) {
        self.pods().remove(uid);
        self.0.settled.notify_waiters();
    }

    async fn write(&self, uid: &str) {
        let mut retry = RETRY.0;
        loop {
            let pause = self.pods().get(uid).map_or(Duration::ZERO, Entry::pause);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let Some(Write { target, wanted, patch }) = self.due(uid) else { return };
            let permit = self.0.permits.acquire().await;
            let result = self.patch(&target, patch).await;
            drop(permit);
            match result {
                Ok(version) => {
                    retry = RETRY.0;
                    if let Some(entry) = self.pods().get_mut(uid) {
                        entry.done(&target.uid, wanted, version);
                    }
                }
                Err(kube::Error::Api(status)) if is_another(&status) => {
                    tracing::debug!(uid, %status, "the pod is not there any more, or is another one");
                    if self.lost(uid, &target.uid) {
                        return;
                    }
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
    fn due(&self, uid: &str) -> Option<Write> {
        let write = self.pods().get_mut(uid).and_then(Entry::due);
        if write.is_none() {
            self.0.settled.notify_waiters();
        }
        write
    }

    /// The pod that was meant is not there; true when none has taken its place.
    fn lost(&self, uid: &str, target: &str) -> bool {
        let lost = self.pods().get_mut(uid).is_none_or(|entry| entry.lost(target));
        self.0.settled.notify_waiters();
        lost
    }

    /// Sends a patch; gives the version that the pod has afterwards, where that can be told.
    async fn patch(&self, target: &Target, status: Value) -> Result<Option<u64>, kube::Error> {
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
        // All else of the answer is not needed, and parsing it would cost.
        let answer = self.0.client.request_text(request).await?;
        let answer = serde_json::from_str::<Answer>(&answer).ok();
        Ok(answer.and_then(|answer| version(&answer.metadata.resource_version)))
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is read of the API's answer.
#[derive(Deserialize)]
struct Answer {
    metadata: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    resource_version: String,
}

/// Versions of an object as numbers that grow.
fn version(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Whether the pod that was meant is not in the API any more; another one may have its name.
fn is_another(status: &kube::core::Status) -> bool {
    let of_uid = || {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.field == "metadata.uid")
    };
    match status.code {
        404 => true,
        // Or many wrote at once.
        409 => !status.message.contains("the object has been modified"),
        422 => of_uid(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_refused_is_not_a_pod_that_is_gone() {
        let refused = |code: u16, field: &str, message: &str| {
            let text = json!({ "code": code, "message": message, "details": { "causes": [{ "field": field }] } });
            is_another(&serde_json::from_value(text).unwrap())
        };
        assert!(refused(404, "", "") && refused(422, "metadata.uid", ""));
        assert!(refused(409, "", "Precondition failed: UID in precondition: a, UID in object meta: b"));
        assert!(!refused(409, "", "the object has been modified; please apply your changes to the latest version"));
        assert!(!refused(422, "status.podIPs", "") && !refused(500, "", ""));
    }

    #[test]
    fn of_an_answer_the_version_is_read() {
        let text = r#"{"kind":"Pod","metadata":{"name":"p","resourceVersion":"42"},"status":{"phase":"Running"}}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        assert_eq!(version(&answer.metadata.resource_version), Some(42));
    }
}
