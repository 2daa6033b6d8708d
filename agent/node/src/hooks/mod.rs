//! Owns lifecycle hooks: `postStart` and `preStop`, by exec, HTTP, sleep.
//!
//! [`post_start`] and [`pre_stop`] are what a pod's worker calls: they record `FailedPostStartHook` and
//! `FailedPreStopHook` themselves. Events do not tell how a hook failed, for its output may hold
//! secrets; the error does, for the log and the container's status.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Pod};

use crate::context::Context;
use crate::cri::{Cri, CriError, v1};
use crate::events::{Kind, Recorder};
use crate::probes::http::{Failed, Get, fetch};

/// As HTTP servers see who asks.
const AGENT: &str = "kube-lifecycle/1.36";
/// As much of an answer as is read.
const BODY: usize = 10 << 10;

/// Runs the `postStart` hook of a container that was just started, if it has one. The error is the
/// message of `PostStartHookError`; the container is then to be killed.
pub async fn post_start(
    context: &Context,
    pod: &Pod,
    container: &Container,
    id: &str,
    ip: Option<&str>,
) -> Result<(), String> {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    let Some(hook) = hook else { return Ok(()) };
    let result = run(context, pod, container, id, ip, hook, None).await;
    if let Err(error) = &result {
        tracing::warn!(container = container.name, id, "{error}");
        let (reason, message) = ("FailedPostStartHook", "PostStartHook failed".to_owned());
        context.events.pod(pod, Some(&container.name), Kind::Warning, reason, message);
    }
    result
}

/// Runs the `preStop` hook of a container that is about to be stopped, if it has one, for as long as
/// `grace` at most.
pub async fn pre_stop(
    context: &Context,
    pod: &Pod,
    container: &Container,
    id: &str,
    ip: Option<&str>,
    grace: Duration,
) {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let Some(hook) = hook else { return };
    let parts = Parts::of(context);
    let whole = perform(&parts, pod, container, id, ip, hook);
    match tokio::time::timeout(grace, whole).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(container = container.name, id, "{error}");
            let (reason, message) = ("FailedPreStopHook", "PreStopHook failed".to_owned());
            context.events.pod(pod, Some(&container.name), Kind::Warning, reason, message);
        }
        Err(_) => tracing::info!(container = container.name, id, "preStop hook did not end within its grace"),
    }
}

/// Runs a hook to its end or to `limit`. `ip` is the pod's. The error is what a person should read;
/// no event is recorded but that of a fallback from HTTPS to HTTP.
pub async fn run(
    context: &Context,
    pod: &Pod,
    container: &Container,
    id: &str,
    ip: Option<&str>,
    hook: &LifecycleHandler,
    limit: Option<Duration>,
) -> Result<(), String> {
    let parts = Parts::of(context);
    let whole = perform(&parts, pod, container, id, ip, hook);
    let Some(limit) = limit else { return whole.await };
    let ended = tokio::time::timeout(limit, whole).await;
    ended.unwrap_or_else(|_| Err(format!("lifecycle hook did not end within {limit:?}")))
}

/// What hooks need of the context.
struct Parts<'a> {
    cri: &'a Cri,
    events: &'a Recorder,
}

impl<'a> Parts<'a> {
    fn of(context: &'a Context) -> Self {
        Self { cri: &context.cri, events: &context.events }
    }
}

async fn perform(
    parts: &Parts<'_>,
    pod: &Pod,
    container: &Container,
    id: &str,
    ip: Option<&str>,
    hook: &LifecycleHandler,
) -> Result<(), String> {
    let place = || format!("for Container \"{}\" in Pod \"{}\" failed", container.name, named(pod));
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let result = parts.cri.exec_sync(id, command.clone(), 0).await;
        ended(&command, result)
            .map_err(|error| format!("Exec lifecycle hook ([{}]) {} - error: {error}", command.join(" "), place()))
    } else if let Some(action) = &hook.http_get {
        let path = action.path.as_deref().unwrap_or_default();
        let result = get(parts, pod, container, ip, action).await;
        result.map_err(|error| format!("HTTP lifecycle hook ({path}) {} - error: {error}", place()))
    } else if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or_default())).await;
        Ok(())
    } else {
        Err("Cannot run handler: it is neither exec nor httpGet nor sleep".to_owned())
    }
}

fn named(pod: &Pod) -> String {
    let meta = &pod.metadata;
    let [name, namespace, uid] =
        [&meta.name, &meta.namespace, &meta.uid].map(|part| part.as_deref().unwrap_or_default());
    format!("{name}_{namespace}({uid})")
}

fn ended(command: &[String], result: Result<v1::ExecSyncResponse, CriError>) -> Result<(), String> {
    let answer = result.map_err(|error| error.to_string())?;
    if answer.exit_code == 0 {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&answer.stderr);
    let output = String::from_utf8_lossy(&answer.stdout);
    let code = answer.exit_code;
    Err(format!("command '{}' exited with {code}: {errors}, message: \"{output}{errors}\"", command.join(" ")))
}

/// Asks, whatever the answer; in the clear where a server does not speak TLS, for so did old kubelets.
async fn get(
    parts: &Parts<'_>,
    pod: &Pod,
    container: &Container,
    ip: Option<&str>,
    action: &HTTPGetAction,
) -> Result<(), String> {
    let get = Get::new(action, container, AGENT)?;
    let host = get.host().or(ip).ok_or_else(|| "the pod has no address".to_owned())?;
    let url = get.url(host);
    match fetch(&get, url.clone(), BODY).await {
        Ok(_) => Ok(()),
        Err(Failed::NotTls) => {
            let plain = get.in_the_clear();
            fetch(&plain, url.plain(), BODY).await.map_err(|error| format!("Get \"{}\": {error}", url.plain()))?;
            let message =
                format!("request to HTTPS lifecycle hook {host} got HTTP response, retry with HTTP succeeded");
            parts.events.pod(pod, None, Kind::Warning, "LifecycleHTTPFallback", message);
            Ok(())
        }
        Err(error) => Err(format!("Get \"{url}\": {error}")),
    }
}

#[cfg(test)]
mod tests;
