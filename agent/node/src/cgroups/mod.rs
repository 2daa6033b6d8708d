//! Owns the cgroups that pods live in: the QoS tree, one cgroup a pod with its limits; by systemd or
//! by hand, v1 or v2.

use k8s_openapi::api::core::v1::Pod;

use crate::config::Settings;

/// Why a cgroup cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} cgroup {path}")]
pub struct CgroupError {
    /// What was being done.
    pub action: &'static str,
    /// The cgroup.
    pub path: String,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

/// The cgroups of pods.
#[derive(Debug, Clone)]
pub struct Cgroups {}

impl Cgroups {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        let _ = settings;
        Self {}
    }

    /// Makes what pods' cgroups are below, with node-wide limits.
    pub async fn ensure_tree(&self) -> Result<(), CgroupError> {
        todo!()
    }

    /// What the CRI is given as `cgroup_parent` of the pod.
    pub fn parent(&self, pod: &Pod) -> String {
        let _ = pod;
        todo!()
    }

    /// Makes the pod's cgroup, or changes its limits to what the pod asks for now.
    pub async fn apply(&self, pod: &Pod) -> Result<(), CgroupError> {
        let _ = pod;
        todo!()
    }

    /// Kills what is left in the pod's cgroup and removes it. All QoS classes are looked through.
    pub async fn remove(&self, uid: &str) -> Result<(), CgroupError> {
        let _ = uid;
        todo!()
    }
}
