//! Owns draining a node: nothing new comes, what runs leaves by the Eviction API, which honours
//! disruption budgets; when that takes too long, the node takes pods again and it is said who holds it.
//!
//! A node may do all of this to itself: the node authorizer lets it patch its own Node, list the pods
//! bound to it and evict them, and NodeRestriction guards taints and labels but not
//! `spec.unschedulable`. It may not delete its own Node; that takes an administrator's credentials.

mod plan;

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, EvictParams, ListParams};
use tokio::time::Instant;

pub use plan::{Fate, Refusal, fate, refusal};

/// How often the pods of the node are looked at while some are going.
const LOOK: Duration = Duration::from_secs(1);
/// When an eviction is tried again that was refused without a time.
const RETRY: Duration = Duration::from_secs(5);

/// How to drain.
#[derive(Debug, Clone)]
pub struct DrainOptions {
    /// When to give up.
    pub timeout: Duration,
    /// Whether pods go, too, that nothing would start elsewhere. Where the node only reboots they had
    /// better stay, to come back with it; where it leaves the cluster they are lost in any case.
    pub bare: bool,
}

/// A pod that did not leave in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its namespace and name, `NAMESPACE/NAME`.
    pub pod: String,
    /// The disruption budget that forbids to evict it, where one does.
    pub budget: Option<String>,
    /// Why it is still there.
    pub why: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.pod, self.why)
    }
}

/// Why a node is not drained.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    /// The API did not do what it was asked.
    #[error("cannot {action} node {node}")]
    Api {
        /// What was asked.
        action: &'static str,
        /// The node.
        node: String,
        /// The API's words.
        #[source]
        source: Box<kube::Error>,
    },
    /// Some pods did not leave in time. The node takes pods again if it did before.
    #[error("node {node} is not drained after {} s, held by {}", .after.as_secs(), list(.holders))]
    TimedOut {
        /// The node.
        node: String,
        /// How long it was tried.
        after: Duration,
        /// Who did not leave.
        holders: Vec<Holder>,
    },
}

fn list(holders: &[Holder]) -> String {
    holders.iter().map(Holder::to_string).collect::<Vec<_>>().join(", ")
}

fn failed(action: &'static str, node: &str) -> impl FnOnce(kube::Error) -> DrainError {
    let node = node.to_owned();
    move |source| DrainError::Api { action, node, source: Box::new(source) }
}

/// Keeps new pods away. Whether they came before.
pub async fn cordon(client: &Client, node: &str) -> Result<bool, DrainError> {
    let api: Api<Node> = Api::all(client.clone());
    let before = api.get(node).await.map_err(failed("read", node))?;
    let cordoned = before.spec.and_then(|spec| spec.unschedulable).unwrap_or_default();
    if !cordoned {
        api.cordon(node).await.map_err(failed("cordon", node))?;
    }
    Ok(!cordoned)
}

/// Lets new pods come.
pub async fn uncordon(client: &Client, node: &str) -> Result<(), DrainError> {
    let api: Api<Node> = Api::all(client.clone());
    api.uncordon(node).await.map(drop).map_err(failed("uncordon", node))
}

/// Cordons a node and has its pods leave: returns when all have that do not stay (of daemon sets, static,
/// finished). On failure the node is uncordoned if it was this call that cordoned it.
pub async fn drain(client: &Client, node: &str, options: &DrainOptions) -> Result<(), DrainError> {
    let ours = cordon(client, node).await?;
    let drained = empty(client, node, options).await;
    if drained.is_err()
        && ours
        && let Err(error) = uncordon(client, node).await
    {
        tracing::error!(node, "the node stays cordoned: {error}");
    }
    drained
}

/// What is known of a pod that must go.
#[derive(Default)]
struct Attempt {
    refusal: Option<Refusal>,
    next: Option<Instant>,
}

async fn empty(client: &Client, node: &str, options: &DrainOptions) -> Result<(), DrainError> {
    let pods: Api<Pod> = Api::all(client.clone());
    let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    let deadline = Instant::now() + options.timeout;
    let mut attempts: HashMap<String, Attempt> = HashMap::new();
    let mut problem = None;
    loop {
        match pods.list(&params).await {
            Ok(list) => {
                problem = None;
                let leaving: Vec<_> = list.items.iter().filter(|pod| fate(pod, options.bare) != Fate::Stay).collect();
                if leaving.is_empty() {
                    return Ok(());
                }
                for pod in &leaving {
                    let attempt = attempts.entry(pod.metadata.uid.clone().unwrap_or_default()).or_default();
                    try_evict(client, pod, attempt).await;
                }
                if Instant::now() >= deadline {
                    let holders = leaving.iter().map(|pod| holder(pod, &attempts)).collect();
                    return Err(DrainError::TimedOut { node: node.to_owned(), after: options.timeout, holders });
                }
            }
            // The API may be away for a moment: among the pods that leave may be its own.
            Err(error) if Instant::now() >= deadline => return Err(failed("list the pods of", node)(error)),
            Err(error) => {
                if problem.replace(()).is_none() {
                    tracing::warn!(node, "cannot list the node's pods, trying again: {error}");
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn try_evict(client: &Client, pod: &Pod, attempt: &mut Attempt) {
    let now = Instant::now();
    if fate(pod, true) == Fate::Going || attempt.next.is_some_and(|next| now < next) {
        return;
    }
    let api: Api<Pod> = Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
    let answer = api.evict(pod.metadata.name.as_deref().unwrap_or_default(), &EvictParams::default()).await;
    attempt.refusal = match answer {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => refusal(&status),
        Err(error) => Some(Refusal { why: error.to_string(), budget: None, retry: None }),
    };
    if let Some(refusal) = &attempt.refusal {
        tracing::info!(pod = name(pod), "cannot evict the pod yet: {}", refusal.why);
    }
    let pause = attempt.refusal.as_ref().and_then(|refusal| refusal.retry);
    attempt.next = Some(now + pause.map_or(RETRY, |seconds| Duration::from_secs(seconds.into())));
}

fn holder(pod: &Pod, attempts: &HashMap<String, Attempt>) -> Holder {
    let attempt = pod.metadata.uid.as_ref().and_then(|uid| attempts.get(uid));
    let refusal = attempt.and_then(|attempt| attempt.refusal.clone()).filter(|_| fate(pod, true) == Fate::Evict);
    let (budget, why) = match refusal {
        Some(refusal) => (refusal.budget, refusal.why),
        None => (None, "it has not ended yet".to_owned()),
    };
    Holder { pod: name(pod), budget, why }
}

fn name(pod: &Pod) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&pod.metadata.namespace), part(&pod.metadata.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_holds_a_node_is_told_with_the_budget() {
        let pod: Pod =
            serde_json::from_value(json!({ "metadata": { "namespace": "shop", "name": "web-1", "uid": "u" } }))
                .unwrap();
        let refusal = Refusal { why: "web needs 2".to_owned(), budget: Some("web".to_owned()), retry: None };
        let attempts = HashMap::from([("u".to_owned(), Attempt { refusal: Some(refusal), next: None })]);
        let held = holder(&pod, &attempts);
        assert_eq!(held.budget.as_deref(), Some("web"));
        let error =
            DrainError::TimedOut { node: "one".to_owned(), after: Duration::from_secs(60), holders: vec![held] };
        assert_eq!(error.to_string(), "node one is not drained after 60 s, held by shop/web-1 (web needs 2)");
        assert_eq!(holder(&pod, &HashMap::new()).why, "it has not ended yet");
    }
}
