//! Owns the network of the node: pods have addresses, reach each other on all nodes, and Services
//! lead to them. In kube-proxy's place and, where no CNI plugin is installed, in its place too; it
//! stands aside for either.
//!
//! ```text
//! Nodes ─────▶ pods ─────▶ CNI configuration, routes, table keelson-pods (masquerading)
//! Services ──▶ services ─▶ table keelson-services (who takes a Service's traffic)
//! slices ────────▲
//! ```
//!
//! Nodes and EndpointSlices are read by all nodes once the cluster lets them: ClusterRole
//! `system:node-proxier` bound to the group `system:nodes`. What is set up stays when this daemon or
//! the API goes away, and is taken over by the next run.

mod cni;
mod family;
mod links;
mod masquerade;
mod nft;
mod nodes;
mod pods;
mod routes;
mod services;
mod sysctl;
mod watch;

use std::sync::Arc;

use crate::config::Settings;
use crate::context::Context;

/// Keeps the node's network; does not end by itself, and may be dropped at any time.
pub async fn run(context: Arc<Context>) {
    let (in_force, own_pods) = tokio::sync::watch::channel(Vec::new());
    tokio::join!(pods::keep(context.clone(), in_force), services::keep(context, own_pods));
}

/// Takes away all that [`run`] set up: for a host that is a node no more, once its pods are gone.
pub async fn remove(settings: &Settings) {
    pods::remove(settings).await;
    services::remove().await;
}
