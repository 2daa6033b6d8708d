//! Owns images of pods: pull policies, credentials, backoff, events; and their garbage collection.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::context::Context;
use crate::cri::v1;

/// Why a container has no image yet: reason and message of its waiting state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImageError {
    /// As the kubelet has it: `ErrImagePull`, `ImagePullBackOff`, `ErrImageNeverPull`, `InvalidImageName`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// When it makes sense to try again.
    pub retry: std::time::Duration,
}

/// Brings images.
pub struct Images {
    context: Arc<Context>,
}

impl Images {
    /// Nothing known yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Sees to it that the container's image is there, by its pull policy; gives the image as the CRI
    /// describes it (its `id` is what a container is made with). Records `Pulling`, `Pulled`, `Failed`, `BackOff`.
    pub async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<v1::Image, ImageError> {
        let _ = (&self.context, pod, container, sandbox);
        todo!()
    }
}
