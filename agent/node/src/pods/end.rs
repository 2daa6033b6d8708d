//! Owns how a pod ends: its containers are stopped, sidecars last, its last status is written, all
//! that belongs to it is taken away, and the API is told that it may forget it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Preconditions};

use super::ContainerKind;
use super::observe::Observed;
use super::worker::{Next, Worker};
use crate::cri::v1;
use crate::eviction;
use crate::probes::Findings;

/// Between two attempts to take something away.
const RETRY: Duration = Duration::from_secs(2);

impl Worker {
    /// Brings the end on by one step.
    pub(super) async fn end(&mut self, observed: &Observed, findings: &HashMap<String, Findings>) -> Next {
        self.memory.ending.get_or_insert_with(Instant::now);
        self.parts.probes.terminating(&self.uid);
        let over = self.over();
        if observed.alive() {
            self.end_containers(observed);
            if !over {
                self.publish(observed, findings);
            }
            return Next::After(None);
        }
        if is_computed(over, self.failed.is_some(), self.memory.cleared) {
            self.publish(observed, findings);
            if !self.over() {
                // It never came to do what it was made for.
                self.status.phase = Some("Failed".into());
                self.report();
            }
        } else {
            // What was said of a pod that is over stays said, but for which pod that is.
            self.status.observed_generation = self.pod.metadata.generation;
            self.report();
        }
        self.parts.probes.remove(&self.uid);
        self.take_away(observed).await
    }

    /// Stops what runs: containers, and once they have ended sidecars, the last first.
    pub(super) fn end_containers(&mut self, observed: &Observed) {
        let begun = *self.memory.ending.get_or_insert_with(Instant::now);
        let spent = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
        let grace = self.grace();
        let left = (grace - spent).max(grace.min(2));
        let sidecar = |name: &&str| self.shape.get(name).is_some_and(|member| member.kind == ContainerKind::Sidecar);
        let names: Vec<&str> =
            observed.containers.iter().filter(|seen| seen.running()).map(|seen| &*seen.name).collect();
        let sidecars: Vec<&str> = names.iter().copied().filter(sidecar).collect();
        let mut now: Vec<&str> = names.iter().copied().filter(|name| !sidecars.contains(name)).collect();
        if now.is_empty() {
            let last = self.shape.init.iter().rev().find(|member| sidecars.contains(&&*member.spec.name));
            now.extend(last.map(|member| &*member.spec.name));
        }
        for seen in observed.containers.iter().filter(|seen| seen.running() && now.contains(&&*seen.name)) {
            let message = format!("Stopping container {}", seen.name);
            self.stop(observed, &seen.id, &seen.name, left, message);
        }
    }

    /// The seconds that the pod is given to end.
    fn grace(&self) -> i64 {
        if let Some(end) = &self.background().end {
            return end.grace;
        }
        let own = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let asked = self.pod.metadata.deletion_grace_period_seconds;
        match asked {
            // Deleted by force: it is not there to be asked any more.
            Some(0) => 1,
            asked => asked.or(own).unwrap_or(30),
        }
    }

    /// Takes away all that belongs to a pod whose containers have ended.
    async fn take_away(&mut self, observed: &Observed) -> Next {
        let deleted = self.gone || self.pod.metadata.deletion_timestamp.is_some();
        if !self.memory.cleared {
            for sandbox in observed.sandboxes.iter().filter(|sandbox| sandbox.ready) {
                let request = v1::StopPodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
                if let Err(error) = self.parts.context.cri.stop_pod_sandbox(request).await {
                    tracing::warn!(uid = self.uid, "cannot stop the sandbox: {error}");
                    return Next::After(Some(RETRY));
                }
            }
            if let Err(error) = self.parts.volumes.remove(&self.uid).await {
                tracing::warn!(uid = self.uid, "cannot remove the volumes: {error}");
                return Next::After(Some(RETRY));
            }
            if let Err(error) = self.parts.context.cgroups.remove(&self.uid).await {
                tracing::warn!(uid = self.uid, "{:#}", anyhow::Error::from(error));
            }
            self.memory.cleared = true;
        }
        if !deleted {
            if eviction::evicted(&self.status) && !self.memory.emptied {
                return self.empty().await;
            }
            // It is over, and stays to be looked at.
            return Next::After(None);
        }
        if !self.gone && !self.is_static {
            // Until the API has the last status, the pod stays.
            self.parts.reporter.settled(&self.uid).await;
            if !self.delete().await {
                return Next::After(Some(RETRY));
            }
        }
        if self.clear().await { Next::Done } else { Next::After(Some(RETRY)) }
    }

    /// Takes what an evicted pod wrote off the disk: it was ended for that. Only once the API has its last
    /// status, which nobody can make out any more afterwards.
    async fn empty(&mut self) -> Next {
        self.parts.reporter.settled(&self.uid).await;
        if !self.clear().await {
            return Next::After(Some(RETRY));
        }
        self.memory.emptied = true;
        // Whoever waits for the room sees it by another look.
        Next::Again
    }

    /// Has the API forget the pod; true when it has.
    async fn delete(&self) -> bool {
        let meta = &self.pod.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.parts.context.client.clone(), namespace);
        let preconditions = Preconditions { uid: meta.uid.clone(), resource_version: None };
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        match pods.delete(meta.name.as_deref().unwrap_or_default(), &params).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => true,
            Err(error) => {
                tracing::debug!(uid = self.uid, "cannot delete the pod yet: {error}");
                false
            }
        }
    }
}

/// Whether the status of a pod that has ended is made of what containerd says; otherwise what was said
/// stays said. `failed`: by the node, whose reason is yet to be said. `cleared`: containerd may have
/// nothing of it any more.
fn is_computed(over: bool, failed: bool, cleared: bool) -> bool {
    !over || (failed && !cleared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_of_a_pod_that_is_taken_away_stays_said() {
        assert!(is_computed(false, false, false) && is_computed(true, true, false));
        assert!(!is_computed(true, true, true) && !is_computed(true, false, false));
    }
}
