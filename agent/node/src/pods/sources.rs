//! Owns where pods come from: the API, for this node only, and the folder of static pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::{mpsc, watch};

/// What changed.
#[derive(Debug)]
pub enum Change {
    /// A pod of the API is there, or is another than before.
    Set(Arc<Pod>),
    /// A pod of the API is gone: its UID.
    Gone(String),
    /// These are all pods that the API has: their UIDs.
    Listed(Vec<String>),
    /// These are all static pods now, by UID.
    Static(BTreeMap<String, Arc<Pod>>),
}

/// Follows the API until the program ends.
pub async fn api(client: kube::Client, node: String, changes: mpsc::Sender<Change>) {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let pods: Api<Pod> = Api::all(client);
    let mut events = std::pin::pin!(watcher(pods, config).default_backoff().modify(|pod| {
        pod.metadata.managed_fields = None;
    }));
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        let change = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(pod)) => {
                listed.push(uid(&pod));
                Change::Set(Arc::new(pod))
            }
            Ok(watcher::Event::InitDone) => Change::Listed(std::mem::take(&mut listed)),
            Ok(watcher::Event::Apply(pod)) => Change::Set(Arc::new(pod)),
            Ok(watcher::Event::Delete(pod)) => Change::Gone(uid(&pod)),
            Err(error) => {
                tracing::debug!("the watch of pods: {error}");
                continue;
            }
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

/// Follows the static pods until the program ends.
pub async fn files(mut pods: watch::Receiver<BTreeMap<String, Arc<Pod>>>, changes: mpsc::Sender<Change>) {
    loop {
        let now = pods.borrow_and_update().clone();
        if changes.send(Change::Static(now)).await.is_err() || pods.changed().await.is_err() {
            return;
        }
    }
}
