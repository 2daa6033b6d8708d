//! Owns what the CRI is asked to make: from a pod and its container to sandbox and container
//! configurations. Pure, but for [`environment`], which reads config maps and secrets.

pub mod quantity;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::context::Context;
use crate::cri::v1;

/// Why a container cannot be described; shown as `CreateContainerConfigError`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct SpecError {
    /// `CreateContainerConfigError`, or `CreatePodSandboxError` and the like.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What is known of a pod's place when its containers are made.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The pod's addresses; the host's where it has the host's network.
    pub pod_ips: Vec<String>,
    /// The host's addresses.
    pub host_ips: Vec<String>,
}

/// The sandbox of a pod. `attempt` counts sandboxes.
pub async fn sandbox(context: &Context, pod: &Pod, attempt: u32) -> Result<v1::PodSandboxConfig, SpecError> {
    let _ = (context, pod, attempt);
    todo!()
}

/// The environment of a container in the order in which it is set: services, `envFrom`, `env` with
/// `$(VAR)` expanded.
pub async fn environment(
    context: &Context,
    pod: &Pod,
    container: &Container,
    place: &Place,
) -> Result<Vec<(String, String)>, SpecError> {
    let _ = (context, pod, container, place);
    todo!()
}

/// A container, to be made in the sandbox. `image` is what [`crate::images::Images::ensure`] gave.
pub fn container(
    context: &Context,
    pod: &Pod,
    container: &Container,
    image: &v1::Image,
    environment: &[(String, String)],
    mounts: Vec<v1::Mount>,
    restart: u32,
) -> Result<v1::ContainerConfig, SpecError> {
    let _ = (context, pod, container, image, environment, mounts, restart, BTreeMap::<(), ()>::new());
    todo!()
}

/// The limits of a container, for a change in place.
pub fn resources(context: &Context, pod: &Pod, container: &Container) -> v1::LinuxContainerResources {
    let _ = (context, pod, container);
    todo!()
}
