//! Owns how a container is stopped: its `preStop` hook, its stop signal, SIGKILL.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::decide::Kill;
use super::manager::Parts;
use super::observe::Observed;
use super::worker::{Worker, lock};
use crate::events::Kind;
use crate::hooks;

/// Seconds that a container has at least after its hook took the whole grace period.
const LEAST: i64 = 2;

/// A container to be stopped.
struct Stop {
    /// The pod.
    pod: Arc<Pod>,
    /// The container's part of the spec, when it is known still.
    spec: Option<Container>,
    /// containerd's id.
    id: String,
    /// Its name.
    name: String,
    /// The pod's address, for the hook.
    ip: Option<String>,
    /// Seconds.
    grace: i64,
    /// What people are told.
    message: String,
}

/// Stops a container; whether that succeeded is seen by looking.
async fn end(parts: &Parts, stop: Stop) {
    let context = &parts.context;
    let Stop { pod, spec, id, name, ip, grace, message } = stop;
    context.events.pod(&pod, Some(&name), Kind::Normal, "Killing", message);
    let mut left = grace.max(0);
    if let Some(spec) = &spec {
        let whole = Duration::from_secs(left.unsigned_abs());
        let rest = hooks::pre_stop(context, &pod, spec, &id, ip.as_deref(), whole).await;
        left = i64::try_from(rest.as_secs()).unwrap_or(left).max(LEAST.min(left));
    }
    if let Err(error) = context.cri.stop_container(&id, left).await
        && !error.is_not_found()
    {
        tracing::warn!(pod = pod.metadata.name, container = name, "cannot stop the container: {error}");
    }
}

impl Worker {
    /// Has a container stopped, beside.
    pub(super) fn kill(&self, observed: &Observed, kill: &Kill) {
        let pod_grace = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        let grace = kill.grace.unwrap_or(pod_grace);
        self.stop(observed, &kill.id, &kill.name, grace, kill.message.clone());
    }

    /// Stops a container beside; again with fewer seconds when it is being stopped already.
    pub(super) fn stop(&self, observed: &Observed, id: &str, name: &str, grace: i64, message: String) {
        {
            let mut background = self.background();
            match background.stopping.insert(id.to_owned(), grace) {
                Some(before) if before <= grace => {
                    background.stopping.insert(id.to_owned(), before);
                    return;
                }
                _ => {}
            }
        }
        let stop = Stop {
            pod: self.pod.clone(),
            spec: self.shape.get(name).map(|member| member.spec.clone()),
            id: id.to_owned(),
            name: name.to_owned(),
            ip: self.place(observed).pod_ips.first().cloned(),
            grace,
            message,
        };
        let (parts, background, wake, id) =
            (self.parts.clone(), self.background.clone(), self.wake.clone(), id.to_owned());
        tokio::spawn(async move {
            end(&parts, stop).await;
            lock(&background).stopping.remove(&id);
            wake.notify_one();
        });
    }
}
