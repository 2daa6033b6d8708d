//! Owns the cluster's DNS: CoreDNS in a pod on a node that has its image.

use anyhow::Result;

use super::ControlPlane;
use crate::paths;

impl ControlPlane {
    /// Starts CoreDNS, as `manifests/kubernetes/dns/dns.yaml` has it, and waits until it answers.
    pub fn start_dns(&self) -> Result<()> {
        let manifest = paths::workspace().join("manifests/kubernetes/dns/dns.yaml");
        self.ok(&["apply", "--filename", &manifest.to_string_lossy()])?;
        self.ok(&["rollout", "status", "--namespace=kube-system", "deployment/coredns", "--timeout=90s"])?;
        Ok(())
    }
}
