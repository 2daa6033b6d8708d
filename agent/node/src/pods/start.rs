//! Owns how a sandbox and a container come up: image, description, create, start.

use k8s_openapi::api::core::v1::Pod;

use super::manager::Parts;
use super::shape::Member;
use crate::cri::v1;
use crate::events::Kind;
use crate::images::ImageError;
use crate::spec::{self, Place};
use crate::stats::counters;
use crate::volumes;

/// Why something is not up: reason and message of the waiting state, and seconds until the next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// `ErrImagePull`, `CreateContainerConfigError` and so on.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Seconds.
    pub retry: i64,
}

/// Seconds between attempts whose failure has no backoff of its own.
const RETRY: i64 = 5;

/// The reason of a container that was made, but does not start.
pub const NOT_STARTED: &str = "RunContainerError";

/// Makes and starts the pod's sandbox; gives its id.
pub async fn sandbox(parts: &Parts, pod: &Pod, config: v1::PodSandboxConfig, handler: String) -> Result<String, Held> {
    let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler };
    let _permit = parts.starts.acquire().await;
    match parts.context.cri.run_pod_sandbox(request).await {
        Ok(answer) => Ok(answer.pod_sandbox_id),
        Err(error) => {
            let message = format!("Failed to create pod sandbox: {error}");
            parts.context.events.pod(pod, None, Kind::Warning, "FailedCreatePodSandBox", message.clone());
            Err(Held { reason: "CreatePodSandboxError".into(), message, retry: RETRY })
        }
    }
}

/// What a container is started in.
pub struct Room<'a> {
    /// The sandbox.
    pub sandbox: &'a str,
    /// How it was made.
    pub config: &'a v1::PodSandboxConfig,
    /// The pod's addresses.
    pub place: &'a Place,
    /// How often the container was made before.
    pub restart: u32,
    /// The container whose processes an ephemeral one sees.
    pub target: Option<&'a str>,
}

/// Brings a container up; gives its id. Its `postStart` hook is not run yet.
pub async fn container(parts: &Parts, pod: &Pod, member: &Member, room: &Room<'_>) -> Result<String, Held> {
    let context = &parts.context;
    let wanted = &member.spec;
    let failed = |reason: &str, message: String| {
        context.events.pod(pod, Some(&wanted.name), Kind::Warning, "Failed", format!("Error: {message}"));
        Held { reason: reason.to_owned(), message, retry: RETRY }
    };
    let unpulled = |error: ImageError| Held {
        reason: error.reason.to_owned(),
        retry: i64::try_from(error.retry.as_secs()).unwrap_or(RETRY).max(1),
        message: error.message,
    };
    let image = parts.images.ensure(pod, wanted, room.config).await.map_err(unpulled)?;
    for volume in volumes::images_wanted(pod, wanted) {
        parts.images.ensure(pod, &volume, room.config).await.map_err(unpulled)?;
    }
    let environment = spec::environment(context, pod, wanted, room.place)
        .await
        .map_err(|error| failed(error.reason, error.message))?;
    let variables = environment.iter().cloned().collect();
    let mounts = parts
        .volumes
        .mounts(pod, wanted, &variables, &room.place.pod_ips, room.restart)
        .await
        .map_err(|error| failed("CreateContainerConfigError", error.message))?;
    let mut config = spec::container(context, pod, wanted, &image, &environment, mounts, room.restart)
        .map_err(|error| failed(error.reason, error.message))?;
    if let Some(target) = room.target {
        spec::target(&mut config, target);
    }
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: room.sandbox.to_owned(),
        config: Some(config),
        sandbox_config: Some(room.config.clone()),
    };
    // Not before: pulling an image and reading from the API may take minutes, which others do not wait for.
    let _permit = parts.starts.acquire().await;
    let made = context.cri.create_container(request).await;
    let id = made.map_err(|error| failed("CreateContainerError", error.to_string()))?.container_id;
    context.events.pod(pod, Some(&wanted.name), Kind::Normal, "Created", format!("Container created: {}", wanted.name));
    context
        .cri
        .start_container(v1::StartContainerRequest { container_id: id.clone() })
        .await
        .map_err(|error| failed(NOT_STARTED, error.to_string()))?;
    context.events.pod(pod, Some(&wanted.name), Kind::Normal, "Started", format!("Container started: {}", wanted.name));
    counters::STARTED_CONTAINERS.count(&[("container_type", "container")]);
    Ok(id)
}
