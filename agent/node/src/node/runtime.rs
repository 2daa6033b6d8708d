//! Owns what containerd says of itself: whether it and its network are ready, what it can do, which
//! images it has.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ContainerImage, NodeFeatures, NodeRuntimeHandler, NodeRuntimeHandlerFeatures};

use crate::cri::{Cri, CriError, v1};

/// How long containerd may be away (restarted, upgraded) before the node is not ready.
const TOLERATED: Duration = Duration::from_secs(30);
/// How long it may take to say how it is.
const LIMIT: Duration = Duration::from_secs(10);
/// How many images a Node shows, and how many names of each.
const IMAGES: usize = 50;
const NAMES: usize = 5;

/// What the Node shows of the runtime.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// Name and version, `containerd://1.7.24`.
    pub version: String,
    /// The classes of containers it can run, in a fixed order.
    pub handlers: Option<Vec<NodeRuntimeHandler>>,
    /// What it can do beyond the usual.
    pub features: Option<NodeFeatures>,
}

/// What containerd last said.
#[derive(Debug, Default)]
pub struct Runtime {
    status: Option<v1::StatusResponse>,
    /// When it last answered; never yet, otherwise.
    answered: Option<Instant>,
    /// Whether it answered the last time it was asked.
    there: bool,
    /// `containerd://1.7.24`; unknown before it was there.
    version: Option<String>,
}

impl Runtime {
    /// Asks containerd.
    pub async fn observe(&mut self, cri: &Cri) {
        match tokio::time::timeout(LIMIT, cri.status(v1::StatusRequest { verbose: false })).await {
            Ok(Ok(status)) => {
                if !self.there {
                    // Possibly another one than before.
                    self.version = version(cri).await.ok().or(self.version.take());
                }
                self.status = Some(status);
                self.answered = Some(Instant::now());
                self.there = true;
            }
            Ok(Err(error)) => self.lost(&error.to_string()),
            Err(_) => self.lost("containerd does not answer"),
        }
    }

    fn lost(&mut self, why: &str) {
        if std::mem::take(&mut self.there) || self.answered.is_none() {
            tracing::warn!("cannot ask containerd how it is: {why}");
        }
    }

    /// Why no pods can be run.
    pub fn problems(&self, now: Instant) -> Vec<String> {
        let Some(answered) = self.answered else {
            return vec!["container runtime status check may not have completed yet".to_owned()];
        };
        let mut problems = Vec::new();
        if !self.there && now.duration_since(answered) >= TOLERATED {
            problems.push("container runtime is down".to_owned());
        }
        problems.extend(self.status.iter().flat_map(unready));
        problems
    }

    /// What the Node shows of it; nothing before it was there.
    pub fn shown(&self) -> Option<Shown> {
        let (status, version) = (self.status.as_ref()?, self.version.clone()?);
        let mut handlers: Vec<_> = status.runtime_handlers.iter().map(handler).collect();
        handlers.sort_by(|a, b| a.name.cmp(&b.name));
        let features = status
            .features
            .map(|features| NodeFeatures { supplemental_groups_policy: Some(features.supplemental_groups_policy) });
        Some(Shown { version, handlers: Some(handlers).filter(|handlers| !handlers.is_empty()), features })
    }
}

async fn version(cri: &Cri) -> Result<String, CriError> {
    let answer = cri.version(v1::VersionRequest { version: "v1".to_owned() }).await?;
    Ok(format!("{}://{}", answer.runtime_name, answer.runtime_version))
}

/// What containerd says of itself or of the network that is not well.
fn unready(status: &v1::StatusResponse) -> Vec<String> {
    let conditions = status.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let problem = |kind: &str, words: &str| match conditions.iter().find(|condition| condition.r#type == kind) {
        Some(condition) if condition.status => None,
        Some(v1::RuntimeCondition { reason, message, .. }) => {
            Some(format!("{words} not ready: {kind}=false reason:{reason} message:{message}"))
        }
        None => Some(format!("{words} not ready: {kind} is unknown")),
    };
    let runtime = problem("RuntimeReady", "container runtime");
    runtime.into_iter().chain(problem("NetworkReady", "container runtime network")).collect()
}

fn handler(handler: &v1::RuntimeHandler) -> NodeRuntimeHandler {
    let features = handler.features.unwrap_or_default();
    NodeRuntimeHandler {
        name: Some(handler.name.clone()),
        features: Some(NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(features.recursive_read_only_mounts),
            user_namespaces: Some(features.user_namespaces),
        }),
    }
}

/// The largest images, for the scheduler to prefer nodes that have one.
pub async fn images(cri: &Cri) -> Result<Vec<ContainerImage>, CriError> {
    Ok(largest(cri.list_images(v1::ListImagesRequest::default()).await?.images))
}

fn largest(mut images: Vec<v1::Image>) -> Vec<ContainerImage> {
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    images.truncate(IMAGES);
    let shown = images.into_iter().map(|image| ContainerImage {
        names: Some(image.repo_digests.into_iter().chain(image.repo_tags).take(NAMES).collect()),
        size_bytes: i64::try_from(image.size).ok(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(conditions: &[(&str, bool)]) -> v1::StatusResponse {
        let condition = |&(kind, status): &(&str, bool)| v1::RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: "Why".to_owned(),
            message: "what".to_owned(),
        };
        let conditions = conditions.iter().map(condition).collect();
        v1::StatusResponse { status: Some(v1::RuntimeStatus { conditions }), ..Default::default() }
    }

    #[test]
    fn a_missing_network_is_told_as_the_kubelet_does() {
        assert!(unready(&status(&[("RuntimeReady", true), ("NetworkReady", true)])).is_empty());
        assert_eq!(
            unready(&status(&[("RuntimeReady", true), ("NetworkReady", false)])),
            ["container runtime network not ready: NetworkReady=false reason:Why message:what"]
        );
        assert_eq!(unready(&status(&[("NetworkReady", true)])).len(), 1);
    }

    #[test]
    fn a_restart_of_containerd_is_tolerated() {
        let mut runtime = Runtime::default();
        let now = Instant::now();
        assert_eq!(runtime.problems(now).len(), 1);
        runtime.status = Some(status(&[("RuntimeReady", true), ("NetworkReady", true)]));
        runtime.answered = Some(now);
        assert!(runtime.problems(now + Duration::from_secs(20)).is_empty());
        assert_eq!(runtime.problems(now + TOLERATED), ["container runtime is down"]);
        runtime.there = true;
        assert!(runtime.problems(now + TOLERATED).is_empty());
    }

    #[test]
    fn the_largest_images_are_shown_with_some_names() {
        let image = |id: u64| v1::Image {
            id: id.to_string(),
            size: id,
            repo_tags: (0..9).map(|tag| format!("i:{tag}")).collect(),
            repo_digests: vec!["i@sha256:0".to_owned()],
            ..Default::default()
        };
        let shown = largest((0..60).map(image).collect());
        assert_eq!(shown.len(), 50);
        assert_eq!(shown[0].size_bytes, Some(59));
        assert_eq!(shown[0].names.as_ref().unwrap()[..2], ["i@sha256:0", "i:0"]);
        assert_eq!(shown[0].names.as_ref().unwrap().len(), 5);
    }
}
