//! Owns volumes of pods: made below the node's root before containers, kept up to date, taken away.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::context::Context;
use crate::cri::v1;

/// Why a volume is not there (yet); the message names it and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct VolumeError {
    /// The event's reason: `FailedMount`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// The volumes of all pods.
pub struct Volumes {
    context: Arc<Context>,
}

impl Volumes {
    /// None yet; what earlier runs left below the root is found by pod UID.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Makes what is missing and brings up to date what changed. Called before containers are made,
    /// and again by the pod's worker every [`crate::config::Settings::volume_refresh`]; idempotent.
    /// `fresh`: read objects anew (a pod that has just begun), not from the cache.
    pub async fn prepare(&self, pod: &Pod, fresh: bool) -> Result<(), VolumeError> {
        let _ = (&self.context, pod, fresh);
        todo!()
    }

    /// What to mount into a container: its `volumeMounts` with subPath and subPathExpr (by `env`), read-only
    /// and propagation, /etc/hosts (managed, unless the pod has the host's network or the container mounts its
    /// own), and the termination message file. Fails as `CreateContainerConfigError` does.
    pub async fn mounts(
        &self,
        pod: &Pod,
        container: &Container,
        env: &BTreeMap<String, String>,
        pod_ips: &[String],
        restart: u32,
    ) -> Result<Vec<v1::Mount>, VolumeError> {
        let _ = (pod, container, env, pod_ips, restart);
        todo!()
    }

    /// The file on the host that a container writes its termination message to.
    pub fn termination_log(&self, uid: &str, container: &str, restart: u32) -> std::path::PathBuf {
        self.context.settings.root.join("pods").join(uid).join("containers").join(container).join(restart.to_string())
    }

    /// Unmounts and removes everything of a pod; only after its last container ended.
    pub async fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        let _ = uid;
        todo!()
    }

    /// stub
    pub async fn termination_message(
        &self,
        uid: &str,
        container: &Container,
        restart: u32,
        code: i32,
        log: &std::path::Path,
    ) -> Option<String> {
        let _ = (uid, container, restart, code, log);
        None
    }

    /// UIDs of pods that have something below the root.
    pub fn known(&self) -> Vec<String> {
        todo!()
    }
}

/// stub
pub fn needs_refresh(pod: &Pod) -> bool {
    let _ = pod;
    false
}
