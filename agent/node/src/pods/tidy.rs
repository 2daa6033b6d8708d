//! Owns what a worker removes of its pod: containers and sandboxes that nobody looks at any more.

use std::collections::HashMap;

use super::observe::Observed;
use super::orphans;
use super::worker::Worker;
use crate::cri::v1;

impl Worker {
    /// Removes containers and sandboxes that nobody looks at any more: of each name the newest and the
    /// one before stay.
    pub(super) async fn tidy(&self, observed: &Observed) {
        let mut seen: HashMap<&str, u32> = HashMap::new();
        for container in &observed.containers {
            let count = seen.entry(&container.name).or_default();
            *count += 1;
            if *count > 2 && container.exited() {
                let request = v1::RemoveContainerRequest { container_id: container.id.clone() };
                if let Err(error) = self.parts.context.cri.remove_container(request).await {
                    tracing::debug!(uid = self.uid, "cannot remove an old container: {error}");
                }
            }
        }
        let used = |id: &str| observed.containers.iter().any(|container| container.sandbox == id);
        for old in observed.sandboxes.iter().skip(1).filter(|old| !old.ready && !used(&old.id)) {
            let request = v1::RemovePodSandboxRequest { pod_sandbox_id: old.id.clone() };
            if let Err(error) = self.parts.context.cri.remove_pod_sandbox(request).await {
                tracing::debug!(uid = self.uid, "cannot remove an old sandbox: {error}");
            }
        }
    }

    /// Takes the pod's sandboxes away.
    pub(super) async fn clear(&self) -> bool {
        match orphans::clear(&self.parts, &self.uid).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(uid = self.uid, "cannot remove the sandbox: {error}");
                false
            }
        }
    }
}
