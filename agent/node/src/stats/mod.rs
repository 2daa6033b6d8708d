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

mod cgroup;
mod node;
mod rates;
mod sample;
mod storage;

pub use node::{FsUsage, NodeUsage, image_fs, node_usage};
pub use storage::{PodUsage, Size, pod_usage};
