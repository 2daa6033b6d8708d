//! Owns what the master looks after for as long as it runs: the cluster's DNS, and that its own node bears the label
//! of a master, which a node may not give itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::dns::objects::{Action, MANAGER};
use crate::dns::{self, apply};
use crate::options::Options;
use crate::own;
use crate::settings::Settings;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(20);
/// What tools, and people, know a master's node by.
const LABEL: &str = "node-role.kubernetes.io/control-plane";

/// Looks after it for good. What does not work is said once, and tried again.
pub async fn serve(client: &kube::Client, options: &Options, settings: &Settings) {
    let (mut said, mut last) = (String::new(), None);
    loop {
        let outcome = look(client, options, settings, &mut last).await;
        let error = outcome.err().map(|error| format!("{error:#}")).unwrap_or_default();
        if error != said && !error.is_empty() {
            tracing::warn!("trying again: {error}");
        }
        said = error;
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(client: &kube::Client, options: &Options, settings: &Settings, last: &mut Option<Action>) -> Result<()> {
    // Each is worth doing without the other.
    let dns = look_after_dns(client, settings, last).await;
    let nodes = look_after_nodes(client, options, settings).await;
    dns.and(nodes)
}

async fn look_after_dns(client: &kube::Client, settings: &Settings, last: &mut Option<Action>) -> Result<()> {
    let action = apply::apply(client, settings, *last).await?;
    if action == Action::GiveWay && settings.dns.is_some() && *last != Some(action) {
        tracing::warn!(
            "the Service kube-system/kube-dns is somebody else's and stays: the master's own DNS is not used; delete \
             that Service, or say `dns: false` in the master's user-data"
        );
    }
    *last = Some(action);
    Ok(())
}

async fn look_after_nodes(client: &kube::Client, options: &Options, settings: &Settings) -> Result<()> {
    let all: Api<Node> = Api::all(client.clone());
    // What the API server has in memory will do.
    let nodes = all.list(&ListParams::default().match_any()).await.context("cannot list nodes")?.items;
    for name in unlabelled(&nodes, own::name(options)?.as_deref()) {
        let labels = Patch::Merge(json!({ "metadata": { "labels": { LABEL: "" } } }));
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let labelled = all.patch_metadata(name, &params, &labels).await;
        labelled.with_context(|| format!("cannot label the node {name}"))?;
        tracing::info!("the node {name} is this master's own, and labelled so");
    }
    if settings.dns.is_some() {
        dns::note_nodes(options, &addresses(&nodes))?;
    }
    dns::bring(options, settings)
}

/// The node of that name where it does not say that it is a master's.
fn unlabelled<'a>(nodes: &'a [Node], name: Option<&str>) -> Vec<&'a str> {
    let own = nodes.iter().filter(|node| name.is_some() && node.metadata.name.as_deref() == name);
    let bare = own.filter(|node| node.metadata.labels.as_ref().is_none_or(|labels| !labels.contains_key(LABEL)));
    bare.filter_map(|node| node.metadata.name.as_deref()).collect()
}

/// The nodes' addresses.
fn addresses(nodes: &[Node]) -> BTreeSet<IpAddr> {
    let statuses = nodes.iter().filter_map(|node| node.status.as_ref()?.addresses.as_ref());
    statuses.flatten().filter_map(|address| address.address.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, labels: &[&str]) -> Node {
        let labels: std::collections::BTreeMap<_, _> = labels.iter().map(|&label| (label, "")).collect();
        let addresses =
            json!([{ "type": "InternalIP", "address": "10.0.0.1" }, { "type": "Hostname", "address": name }]);
        let metadata = json!({ "name": name, "labels": labels });
        serde_json::from_value(json!({ "metadata": metadata, "status": { "addresses": addresses } })).unwrap()
    }

    #[test]
    fn only_the_masters_own_node_is_labelled_and_once() {
        let nodes = [node("m", &["zone"]), node("n", &[])];
        assert_eq!(unlabelled(&nodes, Some("m")), ["m"]);
        assert_eq!(unlabelled(&[node("m", &[LABEL])], Some("m")), Vec::<&str>::new());
        assert_eq!(unlabelled(&nodes, None), Vec::<&str>::new());
        assert_eq!(unlabelled(&[Node::default()], None), Vec::<&str>::new());
    }

    #[test]
    fn addresses_are_what_is_no_name() {
        assert_eq!(addresses(&[node("m", &[])]), BTreeSet::from(["10.0.0.1".parse().unwrap()]));
    }
}
