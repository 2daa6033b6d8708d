//! Owns making room on the disk without ending a pod: by what is left in containerd of pods that are over.

use super::manager::Parts;
use super::{PodView, orphans};
use crate::cri::{CriError, labels, v1};
use crate::spec;

/// Removes the containers of pods that are over, with their logs. For eviction, before pods must go.
pub async fn reclaim(parts: &Parts) -> Result<(), CriError> {
    let containers = parts.context.cri.containers(None).await?;
    for view in parts.context.pods.list() {
        let uid = view.uid();
        // Until the API has it, their status can be made out from them only.
        if !is_left(&view, &containers) || !parts.reporter.is_settled(uid) {
            continue;
        }
        tracing::info!(uid, "removing the containers of a pod that is over, for the room they take");
        if let Err(error) = orphans::clear(parts, uid).await {
            tracing::warn!(uid, "cannot remove the containers of a pod that is over: {error}");
        }
    }
    Ok(())
}

/// Whether a pod is over and has containers still. Those of a static pod are all that tells that it is.
fn is_left(view: &PodView, containers: &[v1::Container]) -> bool {
    let own = |container: &&v1::Container| container.labels.get(labels::POD_UID).is_some_and(|uid| uid == view.uid());
    let mut own = containers.iter().filter(own).peekable();
    let ended = |container: &v1::Container| container.state == v1::ContainerState::ContainerExited as i32;
    view.is_over() && !spec::is_static(&view.pod) && own.peek().is_some() && own.all(ended)
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use k8s_openapi::api::core::v1::{Pod, PodStatus};
    use serde_json::json;

    use super::*;

    fn view(phase: &str, source: &str) -> PodView {
        let annotations = json!({ "kubernetes.io/config.source": source });
        let pod = json!({ "metadata": { "uid": "u", "annotations": annotations } });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        PodView::of(pod, PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() })
    }

    fn container(uid: &str, state: v1::ContainerState) -> v1::Container {
        let labels = [(labels::POD_UID.to_owned(), uid.to_owned())].into();
        v1::Container { labels, state: state as i32, ..v1::Container::default() }
    }

    #[test]
    fn only_pods_that_are_over_lose_their_containers() {
        let ended = container("u", v1::ContainerState::ContainerExited);
        let runs = container("u", v1::ContainerState::ContainerRunning);
        let other = container("v", v1::ContainerState::ContainerRunning);
        assert!(is_left(&view("Failed", "api"), &[ended.clone(), other.clone()]));
        assert!(is_left(&view("Succeeded", "api"), from_ref(&ended)));
        assert!(!is_left(&view("Failed", "api"), &[ended.clone(), runs]));
        assert!(!is_left(&view("Running", "api"), from_ref(&ended)));
        assert!(!is_left(&view("Failed", "api"), &[other]));
        assert!(!is_left(&view("Succeeded", "file"), &[ended]));
    }
}
