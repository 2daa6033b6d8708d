//! Owns how a container is stopped: its `preStop` hook, its stop signal, SIGKILL.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
    let begun = Instant::now();
    let hook = spec.as_ref().and_then(|spec| spec.lifecycle.as_ref()?.pre_stop.as_ref());
    if let (Some(hook), Some(spec), true) = (hook, &spec, grace > 0) {
        let limit = Duration::from_secs(grace.unsigned_abs());
        if let Err(error) = hooks::run(context, &pod, spec, &id, ip.as_deref(), hook, Some(limit)).await {
            context.events.pod(
                &pod,
                Some(&name),
                Kind::Warning,
                "FailedPreStopHook",
                format!("PreStopHook failed: {error}"),
            );
        }
    }
    let spent = i64::try_from(begun.elapsed().as_secs()).unwrap_or(i64::MAX);
    let left = if grace > 0 { (grace - spent).max(LEAST.min(grace)) } else { 0 };
    if let Err(error) = context.cri.stop_container(&id, left).await
        && !error.is_not_found()
    {
        tracing::warn!(pod = pod.metadata.name, container = name, "cannot stop the container: {error}");
    }
}
