//! Owns liveness, readiness and startup probes: one task each while its container runs.

use std::sync::Arc;

use crate::context::Context;
use crate::pods::PodView;

/// What probes say of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Whether it has started: true where there is no startup probe and it runs.
    pub started: bool,
    /// Whether it is ready: true where there is no readiness probe, it runs and has started.
    pub ready: bool,
    /// Why it must be restarted: its startup or liveness probe failed often enough. Says which and how.
    pub kill: Option<String>,
}

/// The probes of all pods.
pub struct Probes {
    context: Arc<Context>,
}

impl Probes {
    /// None yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Starts probes of containers that run and have none, ends those of containers that do not run any
    /// more. Called by the pod's worker whenever something changed; cheap.
    pub fn update(&self, view: &PodView) {
        let _ = (&self.context, view);
        todo!()
    }

    /// What the probes of container `id` of a pod say now.
    pub fn findings(&self, uid: &str, container: &str, id: &str) -> Findings {
        let _ = (uid, container, id);
        todo!()
    }

    /// Ends liveness and startup probes (the pod is going), readiness goes on.
    pub fn terminating(&self, uid: &str) {
        let _ = uid;
        todo!()
    }

    /// Ends all probes of a pod.
    pub fn remove(&self, uid: &str) {
        let _ = uid;
        todo!()
    }
}
