//! Owns draining this node by its own rights: no new pods, and those it has are evicted, which waits
//! for disruption budgets.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{EvictParams, ListParams};
use tokio::time::Instant;

use crate::reboot::{cordon, words};

/// How often pods are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Why a node is not drained. It stays cordoned.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// Pods that would be lost.
    #[error(
        "nothing makes these pods anew elsewhere: {}; delete them, or lose them with --force", .0.join(", ")
    )]
    Unmanaged(Vec<String>),
    /// Pods that did not go.
    #[error(
        "still here after {limit} s: {}; try again later, or go without them with --no-drain", left.join(", ")
    )]
    Slow {
        /// The time there was.
        limit: u64,
        /// Which, with what they wait for.
        left: Vec<String>,
    },
    /// The API server refused.
    #[error("the API server could not {what}: {message}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// Its words.
        message: String,
    },
}

/// What happens on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// No new pods come.
    Cordoned,
    /// A pod was asked to go.
    Evicted(String),
    /// A pod may not go yet.
    Blocked {
        /// Which.
        pod: String,
        /// The API server's words.
        why: String,
    },
    /// A pod is gone.
    Gone(String),
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cordoned => write!(f, "no new pods come to this node"),
            Self::Evicted(pod) => write!(f, "{pod} is asked to go"),
            Self::Blocked { pod, why } => write!(f, "{pod} may not go yet: {why}"),
            Self::Gone(pod) => write!(f, "{pod} is gone"),
        }
    }
}

/// How a node is drained.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Also of pods that nothing makes anew.
    pub force: bool,
    /// With a mark, by which the cordon is known for ours and taken back.
    pub mark: bool,
    /// How long pods may take.
    pub limit: Duration,
}

/// Drains a node.
pub async fn drain(
    client: &kube::Client,
    name: &str,
    how: How,
    report: &(dyn Fn(&Event) + Send + Sync),
) -> Result<(), DrainError> {
    let How { force, mark, limit } = how;
    let deadline = Instant::now() + limit;
    let pods = pods_of(client, name).await?;
    let lost: Vec<String> = pods.iter().filter(|pod| fate(pod) == Fate::Lost).map(label).collect();
    if !lost.is_empty() && !force {
        return Err(DrainError::Unmanaged(lost));
    }
    let nodes: Api<Node> = Api::all(client.clone());
    let cordoned = if mark { cordon::cordon(client, name).await.map(drop) } else { nodes.cordon(name).await.map(drop) };
    match cordoned {
        Ok(()) => report(&Event::Cordoned),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(refused("cordon the node")(error)),
    }
    let mut known: BTreeMap<String, State> = BTreeMap::new();
    loop {
        let here: Vec<Pod> = pods_of(client, name).await?.into_iter().filter(|pod| fate(pod) != Fate::Stays).collect();
        for gone in known.keys().filter(|pod| !here.iter().any(|other| label(other) == **pod)) {
            report(&Event::Gone(gone.clone()));
        }
        known.retain(|pod, _| here.iter().any(|other| label(other) == *pod));
        if here.is_empty() {
            return Ok(());
        }
        for pod in &here {
            let state = known.entry(label(pod)).or_default();
            if fate(pod) != Fate::Going {
                state.evict(client, pod, report).await?;
            }
        }
        if Instant::now() >= deadline {
            let left = known.iter().map(|(pod, state)| state.describe(pod)).collect();
            return Err(DrainError::Slow { limit: limit.as_secs(), left });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is known of a pod that is to go.
#[derive(Debug, Default)]
struct State {
    asked: bool,
    blocked: Option<String>,
}

impl State {
    async fn evict(
        &mut self,
        client: &kube::Client,
        pod: &Pod,
        report: &(dyn Fn(&Event) + Send + Sync),
    ) -> Result<(), DrainError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        match pods.evict(name, &EvictParams::default()).await {
            Ok(_) => {
                self.blocked = None;
                if !std::mem::replace(&mut self.asked, true) {
                    report(&Event::Evicted(label(pod)));
                }
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // Its budget does not allow it now, or the server is busy.
            Err(kube::Error::Api(status)) if status.code == 429 || status.code >= 500 => {
                if self.blocked.as_ref() != Some(&status.message) {
                    report(&Event::Blocked { pod: label(pod), why: status.message.clone() });
                    self.blocked = Some(status.message.clone());
                }
            }
            Err(error) => return Err(refused("evict a pod")(error)),
        }
        Ok(())
    }

    fn describe(&self, pod: &str) -> String {
        match &self.blocked {
            Some(why) => format!("{pod} ({why})"),
            None => pod.to_owned(),
        }
    }
}

async fn pods_of(client: &kube::Client, name: &str) -> Result<Vec<Pod>, DrainError> {
    let pods: Api<Pod> = Api::all(client.clone());
    let params = ListParams::default().fields(&format!("spec.nodeName={name}"));
    pods.list(&params).await.map(|list| list.items).map_err(refused("list the pods of the node"))
}

fn refused(what: &'static str) -> impl Fn(kube::Error) -> DrainError {
    move |error| DrainError::Api { what, message: words(error) }
}

fn label(pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// What becomes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It belongs to the node: a static pod, or one of a DaemonSet.
    Stays,
    /// It goes already.
    Going,
    /// It is made anew elsewhere, or has ended.
    Moves,
    /// Nothing makes it anew.
    Lost,
}

fn fate(pod: &Pod) -> Fate {
    let mirror = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key("kubernetes.io/config.mirror"));
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let controller = owners.find(|owner| owner.controller == Some(true));
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    match controller.map(|owner| owner.kind.as_str()) {
        _ if mirror => Fate::Stays,
        Some("DaemonSet") => Fate::Stays,
        _ if pod.metadata.deletion_timestamp.is_some() => Fate::Going,
        None if !matches!(phase, Some("Succeeded" | "Failed")) => Fate::Lost,
        _ => Fate::Moves,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(meta: Value, phase: &str) -> Fate {
        fate(&serde_json::from_value(json!({ "metadata": meta, "status": { "phase": phase } })).unwrap())
    }

    #[test]
    fn what_becomes_of_pods() {
        let owned =
            |kind: &str| json!([{ "apiVersion": "v1", "kind": kind, "name": "x", "uid": "u", "controller": true }]);
        assert_eq!(pod(json!({ "ownerReferences": owned("ReplicaSet") }), "Running"), Fate::Moves);
        assert_eq!(pod(json!({ "ownerReferences": owned("DaemonSet") }), "Running"), Fate::Stays);
        let mirror = json!({ "annotations": { "kubernetes.io/config.mirror": "x" }, "ownerReferences": owned("Node") });
        assert_eq!(pod(mirror, "Running"), Fate::Stays);
        assert_eq!(pod(json!({}), "Running"), Fate::Lost);
        assert_eq!(pod(json!({}), "Succeeded"), Fate::Moves);
        assert_eq!(pod(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), "Running"), Fate::Going);
    }
}
