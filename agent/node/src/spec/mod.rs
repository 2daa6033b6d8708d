//! Owns what the CRI is asked to make: from a pod and its container to sandbox and container
//! configurations, and whether a pod may run here at all. Pure, but for [`environment`] and [`sandbox`],
//! which read objects of the API, and the folders for logs.

mod admission;
mod container;
mod dns;
mod env;
pub(crate) mod expand;
pub mod fields;
mod host;
mod hostname;
pub mod quantity;
pub mod requirements;
mod resources;
mod sandbox;
mod security;
mod sysctls;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::context::Context;
use crate::cri::v1;
use crate::objects::ObjectError;

pub use admission::{Rejection, admit, is_critical, is_static, resizes};
pub use container::{annotations, ephemeral, hash, log_path, target};
pub use expand::expand;
pub use hostname::{Hostname, hostname};
pub use requirements::{Qos, qos};
pub use sandbox::log_directory;

/// Why a container cannot be described; shown as `CreateContainerConfigError`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    /// `CreateContainerConfigError`, or `CreatePodSandboxError` and the like.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl SpecError {
    fn container(message: impl Into<String>) -> Self {
        Self { reason: "CreateContainerConfigError", message: message.into() }
    }

    fn sandbox(message: impl Into<String>) -> Self {
        Self { reason: "CreatePodSandboxError", message: message.into() }
    }
}

/// What is known of a pod's place when its containers are made.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The pod's addresses; the host's where it has the host's network.
    pub pod_ips: Vec<String>,
    /// The host's addresses.
    pub host_ips: Vec<String>,
}

/// The sandbox of a pod. `attempt` counts sandboxes. The folder of its logs is there afterwards.
pub async fn sandbox(context: &Context, pod: &Pod, attempt: u32) -> Result<v1::PodSandboxConfig, SpecError> {
    sandbox::sandbox(context, pod, attempt).await
}

/// The runtime handler that the sandbox of a pod is run with, by its RuntimeClass; empty for the usual one.
pub async fn runtime_handler(context: &Context, pod: &Pod) -> Result<String, SpecError> {
    let class = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref());
    let Some(class) = class.filter(|class| !class.is_empty()) else { return Ok(String::new()) };
    match context.objects.runtime_class(class).await {
        Ok(class) => Ok(class.handler.clone()),
        Err(error @ (ObjectError::NotFound { .. } | ObjectError::Failed { .. })) => {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            Err(SpecError::sandbox(format!("Failed to create sandbox for pod \"{name}\": {error}")))
        }
    }
}

/// The environment of a container in the order in which it is set: services, `envFrom`, `env` with
/// `$(VAR)` expanded. Each name is there once.
pub async fn environment(
    context: &Context,
    pod: &Pod,
    container: &Container,
    place: &Place,
) -> Result<Vec<(String, String)>, SpecError> {
    env::environment(context, pod, container, place).await
}

/// A container, to be made in the sandbox. `image` is what [`crate::images::Images::ensure`] gave. The
/// folder of its logs is there afterwards. An ephemeral one comes from [`ephemeral`]; then [`target`].
pub fn container(
    context: &Context,
    pod: &Pod,
    container: &Container,
    image: &v1::Image,
    environment: &[(String, String)],
    mounts: Vec<v1::Mount>,
    restart: u32,
) -> Result<v1::ContainerConfig, SpecError> {
    let settings = &context.settings;
    let parts = container::Parts { image, environment, mounts, restart, root: &settings.root };
    let config = container::assemble(pod, container, parts, host::facts()).map_err(SpecError::container)?;
    let logs = log_directory(&settings.logs, pod).join(&container.name);
    std::fs::create_dir_all(&logs).map_err(|error| {
        let name = &container.name;
        SpecError::container(format!("create container log directory for container {name} failed: {error}"))
    })?;
    Ok(config)
}

/// The limits of a container, for a change in place.
pub fn resources(_context: &Context, pod: &Pod, container: &Container) -> v1::LinuxContainerResources {
    resources::container(pod, container, host::facts())
}
