//! Owns `context.node`: the own Node as the API last showed it, by a watch of that one object.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};

use crate::context::Context;

/// Watches for ever.
pub async fn run(context: &Context) {
    let api: Api<Node> = Api::all(context.client.clone());
    let mut events = pin!(watcher::watch_object(api, &context.settings.name).default_backoff());
    let mut failing = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(node) => {
                failing = false;
                publish(context, node);
            }
            Err(error) if failing => tracing::debug!("cannot watch the node: {error}"),
            Err(error) => {
                failing = true;
                tracing::warn!("cannot watch the node, trying again: {error}");
            }
        }
    }
}

/// Shows everybody the Node, unless they saw a newer one.
pub fn publish(context: &Context, node: Option<Node>) {
    context.node.send_if_modified(|shown| {
        let newer = match (shown.as_deref(), &node) {
            (None, None) => false,
            (Some(shown), Some(node)) => is_newer(node, shown),
            _ => true,
        };
        if newer {
            *shown = node.map(|mut node| {
                // Who set which field is of no use here, and most of the object.
                node.metadata.managed_fields = None;
                Arc::new(node)
            });
        }
        newer
    });
}

/// A watch may lag behind what a write was answered with.
fn is_newer(node: &Node, shown: &Node) -> bool {
    let version = |node: &Node| node.metadata.resource_version.as_deref()?.parse::<u64>().ok();
    if node.metadata.uid != shown.metadata.uid {
        return true;
    }
    match (version(node), version(shown)) {
        (Some(node), Some(shown)) => node > shown,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(uid: &str, version: &str) -> Node {
        let mut node = Node::default();
        node.metadata.uid = Some(uid.to_owned());
        node.metadata.resource_version = Some(version.to_owned());
        node
    }

    #[test]
    fn what_lags_behind_is_not_shown() {
        assert!(is_newer(&node("a", "10"), &node("a", "9")));
        assert!(!is_newer(&node("a", "9"), &node("a", "10")));
        assert!(!is_newer(&node("a", "9"), &node("a", "9")));
        assert!(is_newer(&node("b", "3"), &node("a", "10")));
    }
}
