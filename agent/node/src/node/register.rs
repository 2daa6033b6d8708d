//! Owns bringing the node's own object into the API: made when it is not there, brought in line with the
//! settings when it is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::backoff::Backoff;
use super::conditions::Health;
use super::facts::Facts;
use super::runtime::Runtime;
use super::status::{Now, desired};
use super::{labels, watch};
use crate::context::Context;
use crate::eviction::Pressure;

/// How long the API may take to answer.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Tells the control plane that it attaches volumes, not the node.
const ATTACHED_BY_CONTROLLER: &str = "volumes.kubernetes.io/controller-managed-attach-detach";

/// Why the node cannot be registered, however often it is tried.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The API finds the Node malformed: a label, a taint or the name.
    #[error("the API does not take node {name}: {message}")]
    Invalid {
        /// The node's name.
        name: String,
        /// The API's words.
        message: String,
    },
}

/// Registers the node: returns when it is in the API, and shown in `context.node`. Tries for ever while
/// the API is away or refuses. Where the Node exists, its labels of the settings are set again; labels
/// and taints that others gave it stay.
pub async fn register(context: &Context) -> Result<(), RegisterError> {
    for label in labels::refused(&context.settings.labels) {
        tracing::warn!(label, "a node may not give itself this label: set it with kubectl as an administrator");
    }
    let mut runtime = Runtime::default();
    runtime.observe(&context.cri).await;
    let problems = runtime.problems(std::time::Instant::now());
    let health = Health { problems, pressure: Pressure::default() };
    let now = Now { health, runtime: runtime.shown(), images: None };
    let facts = Facts::gather(&context.settings);
    ensure(context, &facts, &now).await
}

/// Tries until the Node is there.
pub async fn ensure(context: &Context, facts: &Facts, now: &Now) -> Result<(), RegisterError> {
    let name = &context.settings.name;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(7));
    loop {
        let error = match tokio::time::timeout(LIMIT, attempt(context, facts, now)).await {
            Ok(Ok(node)) => {
                watch::publish(context, Some(node));
                return Ok(());
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 422 || status.code == 400 => {
                return Err(RegisterError::Invalid { name: name.clone(), message: status.message });
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                format!("{} (is {name} the name in the node's certificate?)", status.message)
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
        };
        let first = !backoff.failing();
        let wait = backoff.wait();
        if first {
            tracing::warn!(node = name, "cannot register the node, trying again: {error}");
        } else {
            tracing::debug!(node = name, ?wait, "cannot register the node, trying again: {error}");
        }
        tokio::time::sleep(wait).await;
    }
}

async fn attempt(context: &Context, facts: &Facts, now: &Now) -> kube::Result<Node> {
    let api: Api<Node> = Api::all(context.client.clone());
    let name = &context.settings.name;
    let labels = labels::of_node(name, &context.settings.labels);
    let provider_id = context.settings.provider_id.as_deref();
    let Some(node) = api.get_opt(name).await? else {
        let node = api
            .create(&PostParams::default(), &object(name, labels, &context.settings.taints, provider_id, facts, now))
            .await?;
        tracing::info!(node = name, "registered the node");
        return Ok(node);
    };
    tracing::info!(node = name, "the node was registered before");
    match reconcile(labels, provider_id, &node) {
        Some(patch) => api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await,
        None => Ok(node),
    }
}

/// The Node as it is made, ready at once where it is.
fn object(
    name: &str,
    labels: BTreeMap<String, String>,
    taints: &[crate::config::Taint],
    provider_id: Option<&str>,
    facts: &Facts,
    now: &Now,
) -> Node {
    let taints: Vec<_> = taints.iter().map(taint).collect();
    let (status, _) = desired(facts, now, &NodeStatus::default(), Timestamp::now());
    Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            annotations: Some(annotations()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            provider_id: provider_id.map(str::to_owned),
            taints: Some(taints).filter(|taints| !taints.is_empty()),
            ..NodeSpec::default()
        }),
        status: Some(status),
    }
}

fn taint(taint: &crate::config::Taint) -> Taint {
    Taint {
        effect: taint.effect.clone(),
        key: taint.key.clone(),
        time_added: None,
        value: Some(taint.value.clone()).filter(|value| !value.is_empty()),
    }
}

fn annotations() -> BTreeMap<String, String> {
    BTreeMap::from([(ATTACHED_BY_CONTROLLER.to_owned(), "true".to_owned())])
}

/// What of a Node that was there before must change. A machine that has a provider's ID keeps it: the API
/// lets nobody change one.
fn reconcile(labels: BTreeMap<String, String>, provider_id: Option<&str>, node: &Node) -> Option<Value> {
    let missing = |wanted: BTreeMap<String, String>, there: &Option<BTreeMap<String, String>>| {
        let there = |key: &str| there.as_ref().and_then(|there| there.get(key));
        let missing: BTreeMap<_, _> = wanted.into_iter().filter(|(key, value)| there(key) != Some(value)).collect();
        Some(missing).filter(|missing| !missing.is_empty())
    };
    let labels = missing(labels, &node.metadata.labels);
    let annotations = missing(annotations(), &node.metadata.annotations);
    let mut metadata = serde_json::Map::new();
    metadata.extend(labels.map(|labels| ("labels".to_owned(), json!(labels))));
    metadata.extend(annotations.map(|annotations| ("annotations".to_owned(), json!(annotations))));
    let known = node.spec.as_ref().and_then(|spec| spec.provider_id.as_deref()).unwrap_or_default();
    let provider_id = provider_id.filter(|_| known.is_empty());
    let mut patch = serde_json::Map::new();
    patch.extend((!metadata.is_empty()).then(|| ("metadata".to_owned(), Value::Object(metadata))));
    patch.extend(provider_id.map(|id| ("spec".to_owned(), json!({ "providerID": id }))));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Taint as Wanted;
    use crate::node::status::tests::facts;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels::of_node("one", &pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn a_new_node_has_taints_labels_and_a_status() {
        let taint = Wanted { key: "gpu".to_owned(), value: String::new(), effect: "NoSchedule".to_owned() };
        let node = object("one", labels(&[("rack", "7")]), &[taint], Some("x://1"), &facts(), &Now::default());
        assert_eq!(node.metadata.labels.as_ref().unwrap()["rack"], "7");
        let spec = node.spec.unwrap();
        assert_eq!(spec.provider_id.as_deref(), Some("x://1"));
        let taints = spec.taints.unwrap();
        assert_eq!((taints[0].key.as_str(), taints[0].value.as_deref()), ("gpu", None));
        let status = node.status.unwrap();
        assert_eq!(status.addresses.unwrap()[0].address, "10.0.0.1");
        assert_eq!(status.conditions.unwrap()[3].status, "True");
    }

    #[test]
    fn only_what_is_missing_is_set_again() {
        let mut node = object("one", labels(&[]), &[], None, &facts(), &Now::default());
        assert_eq!(reconcile(labels(&[]), None, &node), None);
        let there = node.metadata.labels.as_mut().unwrap();
        there.insert("kubernetes.io/os".to_owned(), "plan9".to_owned());
        there.insert("theirs".to_owned(), "stays".to_owned());
        let patch = reconcile(labels(&[]), None, &node).unwrap();
        assert_eq!(patch, json!({ "metadata": { "labels": { "kubernetes.io/os": "linux" } } }));
        node.metadata.annotations = None;
        assert!(reconcile(labels(&[]), None, &node).unwrap()["metadata"]["annotations"].is_object());
    }

    #[test]
    fn a_providers_id_is_given_once() {
        let node = object("one", labels(&[]), &[], None, &facts(), &Now::default());
        let patch = reconcile(labels(&[]), Some("x://1"), &node).unwrap();
        assert_eq!(patch, json!({ "spec": { "providerID": "x://1" } }));
        let node = object("one", labels(&[]), &[], Some("x://2"), &facts(), &Now::default());
        assert_eq!(reconcile(labels(&[]), Some("x://1"), &node), None);
    }
}
