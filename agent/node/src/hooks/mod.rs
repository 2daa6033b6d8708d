//! Owns lifecycle hooks: `postStart` and `preStop`, by exec, HTTP, sleep.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use crate::context::Context;

/// Runs a hook to its end or to `limit`. `ip` is the pod's. The error is what a person should read.
pub async fn run(
    context: &Context,
    pod: &Pod,
    container: &Container,
    id: &str,
    ip: Option<&str>,
    hook: &LifecycleHandler,
    limit: Option<Duration>,
) -> Result<(), String> {
    let _ = (context, pod, container, id, ip, hook, limit);
    todo!()
}
