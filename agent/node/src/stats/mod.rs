//! Owns what pods and the node use: the summary, and the metrics of the kubelet.
//!
//! ```text
//! cgroups, /proc ──▶ sample::Snapshot ──▶ /metrics/resource, /metrics/cadvisor
//!                          │
//! containerd's layers ─────┼──▶ /stats/summary
//! folders of volumes ──────┴──▶ pod_usage ──▶ eviction
//! ```
//!
//! Nothing is read unless somebody asks.

mod cadvisor;
mod cgroup;
pub mod counters;
mod kubelet;
mod network;
mod node;
mod rates;
mod resource;
mod sample;
mod storage;
mod summary;
mod text;
mod types;

pub use kubelet::{kubelet, probes};
pub use node::{FsUsage, NodeUsage, image_fs, node_usage};
pub use storage::{PodUsage, Size, pod_usage};
pub use summary::Summaries;
pub use text::CONTENT_TYPE;

use crate::context::Context;

/// /metrics/resource.
pub async fn resource(context: &Context) -> String {
    resource::render(&sample::collect(context).await)
}

/// /metrics/cadvisor.
pub async fn cadvisor(context: &Context) -> String {
    let snapshot = sample::collect(context).await;
    let networks = network::of_pods(context.settings.cgroup_driver, &snapshot.pods).await;
    cadvisor::render(&snapshot, &networks)
}
