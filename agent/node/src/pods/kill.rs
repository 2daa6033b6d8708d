//! Owns how a container is stopped: its `preStop` hook, its stop signal, SIGKILL.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::manager::Parts;
use crate::events::Kind;
use crate::hooks;

/// Seconds that a container has at least after its hook took the whole grace period.
const LEAST: i64 = 2;

/// A container to be stopped.
pub struct Stop {
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container's part of the spec, when it is known still.
    pub spec: Option<Container>,
    /// containerd's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The pod's address, for the hook.
    pub ip: Option<String>,
    /// Seconds.
    pub grace: i64,
    /// What people are told.
    pub message: String,
}

/// Stops a container; whether that succeeded is seen by looking.
pub async fn stop(parts: &Parts, stop: Stop) {
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
