//! Owns what is left of pods that nobody wants any more: deleted while this daemon was not there.

use std::collections::HashSet;

use super::manager::Parts;
use crate::cri::{CriError, labels, v1};

/// Seconds that containers of pods get that are gone.
const GRACE: i64 = 10;

/// UIDs of pods that have something in containerd or below the root, or a cgroup, and are not in `wanted`.
pub async fn find(parts: &Parts, wanted: &HashSet<String>) -> Result<HashSet<String>, CriError> {
    let sandboxes = parts.context.cri.sandboxes(None).await?;
    let owners = sandboxes.into_iter().filter_map(|mut sandbox| sandbox.labels.remove(labels::POD_UID));
    let mut found: HashSet<String> = owners.chain(parts.volumes.known()).chain(parts.context.cgroups.known()).collect();
    found.retain(|uid| !wanted.contains(uid));
    Ok(found)
}

/// Ends and removes all that is left of a pod. What fails may be tried again.
pub async fn remove(parts: &Parts, uid: &str) -> anyhow::Result<()> {
    tracing::info!(uid, "removing what is left of a pod that is gone");
    let cri = &parts.context.cri;
    for container in cri.containers(Some(uid)).await? {
        if container.state == v1::ContainerState::ContainerRunning as i32 {
            cri.stop_container(&container.id, GRACE).await?;
        }
    }
    clear(parts, uid).await?;
    parts.volumes.remove(uid).await?;
    parts.context.cgroups.remove(uid).await?;
    Ok(())
}

/// Stops and removes the sandboxes of a pod, with their containers and logs.
pub async fn clear(parts: &Parts, uid: &str) -> Result<(), CriError> {
    let cri = &parts.context.cri;
    for sandbox in cri.sandboxes(Some(uid)).await? {
        let id = sandbox.id;
        cri.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await?;
        cri.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: id }).await?;
        let name = |label: &str| sandbox.labels.get(label).cloned().unwrap_or_default();
        let folder = format!("{}_{}_{uid}", name(labels::POD_NAMESPACE), name(labels::POD_NAME));
        if let Err(error) = tokio::fs::remove_dir_all(parts.context.settings.logs.join(folder)).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(uid, "cannot remove the logs: {error}");
        }
    }
    Ok(())
}
