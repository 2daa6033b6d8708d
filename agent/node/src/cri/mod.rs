//! Owns the way to containerd's CRI: one channel, typed calls with time limits.

mod client;

pub use client::{Cri, CriError};
pub use k8s_cri::v1;

/// Labels by which the kubelet, and this node, find what belongs to a pod again.
pub mod labels {
    /// The pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// The pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's UID.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// The container's name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
}
