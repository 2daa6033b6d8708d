//! Owns the node's Lease: the sign that it lives, renewed every ten seconds by one write.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kube::api::{Api, PostParams};

use super::Control;
use super::backoff::{Backoff, jittered};
use super::register::LIMIT;
use crate::context::Context;

const NAMESPACE: &str = "kube-node-lease";
/// The node is given up when it was not renewed for so many seconds.
const DURATION: i32 = 40;
const PERIOD: Duration = Duration::from_secs(10);

/// Renews the Lease for ever, while the Node is there and the node does not leave.
pub async fn run(context: &Context, control: &Control) {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), NAMESPACE);
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(7));
    let mut nodes = context.node.subscribe();
    let mut held = None;
    loop {
        let node = nodes.borrow_and_update().clone();
        let Some(node) = node.filter(|_| !control.leaving()) else {
            held = None;
            if nodes.changed().await.is_err() {
                return;
            }
            continue;
        };
        let renewed = tokio::time::timeout(LIMIT, renew(&api, held.take(), &context.settings.name, &node)).await;
        let error = match renewed {
            Ok(Ok(lease)) => {
                if backoff.reset() {
                    tracing::info!("the node's lease is renewed again");
                }
                held = Some(lease);
                tokio::time::sleep(jittered(PERIOD, 0.04)).await;
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
        };
        if backoff.failing() {
            tracing::debug!("cannot renew the node's lease: {error}");
        } else {
            tracing::warn!("cannot renew the node's lease, trying again: {error}");
        }
        tokio::time::sleep(backoff.wait()).await;
    }
}

/// Writes the Lease: over the one held without reading it before; over what the API has when it was
/// changed since; anew when it is gone.
async fn renew(api: &Api<Lease>, held: Option<Lease>, name: &str, node: &Node) -> kube::Result<Lease> {
    if let Some(held) = held {
        match replace(api, held, name, node).await {
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {}
            answer => return answer,
        }
    }
    match api.get_opt(name).await? {
        Some(there) => replace(api, there, name, node).await,
        None => stripped(api.create(&PostParams::default(), &next(None, name, node, Timestamp::now())).await),
    }
}

async fn replace(api: &Api<Lease>, base: Lease, name: &str, node: &Node) -> kube::Result<Lease> {
    stripped(api.replace(name, &PostParams::default(), &next(Some(base), name, node, Timestamp::now())).await)
}

fn stripped(answer: kube::Result<Lease>) -> kube::Result<Lease> {
    answer.map(|mut lease| {
        lease.metadata.managed_fields = None;
        lease
    })
}

/// The Lease after `base`.
fn next(base: Option<Lease>, name: &str, node: &Node, now: Timestamp) -> Lease {
    let mut lease = base.unwrap_or_default();
    lease.metadata.name = Some(name.to_owned());
    lease.metadata.namespace = Some(NAMESPACE.to_owned());
    lease.metadata.managed_fields = None;
    lease.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }]);
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(name.to_owned());
    spec.lease_duration_seconds = Some(DURATION);
    spec.renew_time = Some(MicroTime(now));
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_keeps_the_version_and_follows_the_node() {
        let node = |uid: &str| {
            let mut node = Node::default();
            node.metadata.uid = Some(uid.to_owned());
            node
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut first = next(None, "one", &node("a"), at(1));
        assert_eq!(first.metadata.resource_version, None);
        assert_eq!(first.spec.as_ref().unwrap().holder_identity.as_deref(), Some("one"));
        first.metadata.resource_version = Some("7".to_owned());
        let second = next(Some(first), "one", &node("b"), at(11));
        assert_eq!(second.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(second.metadata.owner_references.unwrap()[0].uid, "b");
        let spec = second.spec.unwrap();
        assert_eq!((spec.lease_duration_seconds, spec.renew_time), (Some(40), Some(MicroTime(at(11)))));
    }
}
