//! Owns the way of a machine into its cluster: its agent is started, its pods get a network, others
//! get routes to them, and it is waited for.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Agent, NodeRig, START, ours, upstream};
use crate::cluster::ControlPlane;
use crate::cluster::servers::SERVICES;
use crate::containers::eventually;

impl NodeRig {
    /// Starts the agent, and what belongs to it, and waits until the node is Ready. Gives how long the
    /// agent took for that.
    pub fn join(&mut self, cluster: &ControlPlane, agent: Agent) -> Result<Duration> {
        let start = Instant::now();
        match agent {
            Agent::Upstream => self.run("kubelet", upstream::kubelet)?,
            Agent::Ours => self.run("keeld-node", ours::node)?,
        }
        let pods = self.pods(cluster)?;
        if agent == Agent::Upstream {
            self.network(&pods)?;
            self.run("kube-proxy", upstream::proxy)?;
        }
        self.wait_ready(cluster)?;
        let took = start.elapsed();
        // The API server speaks to pods, and to Services by way of the first node.
        cluster.namespace().ip(&["route", "replace", &pods, "via", self.address()])?;
        cluster.namespace().ip(&["route", "append", SERVICES, "via", self.address()])?;
        Ok(took)
    }

    /// Waits until the API server knows the node as Ready.
    pub fn wait_ready(&mut self, cluster: &ControlPlane) -> Result<()> {
        let node = format!("node/{}", self.name());
        let words = ["wait", "--for=condition=Ready", &node, "--timeout=1s"];
        self.wait(&format!("{node} does not become Ready"), || cluster.ok(&words).is_ok())
    }

    /// The addresses of its pods, once the controllers have given it some.
    fn pods(&mut self, cluster: &ControlPlane) -> Result<String> {
        let node = format!("node/{}", self.name());
        let mut found = String::new();
        self.wait(&format!("{node} does not join"), || {
            found = cluster.ok(&["get", &node, "--output=jsonpath={.spec.podCIDR}"]).unwrap_or_default();
            !found.is_empty()
        })?;
        Ok(found)
    }

    /// Waits for something the agent does; fails when it ends meanwhile.
    fn wait(&mut self, problem: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
        let programs = &mut self.programs;
        let mut done = false;
        eventually(START, || {
            done = ready();
            done || programs.iter_mut().any(|(_, _, process)| process.has_ended())
        });
        ensure!(done, "{}", self.logs(problem));
        Ok(())
    }

    /// Gives pods a network as a plugin for the kubelet would: each has a cable to the machine, which
    /// routes, so that no packet goes around the rules for Services. Between machines the control plane
    /// routes, which is where every machine's default route goes.
    fn network(&self, pods: &str) -> Result<()> {
        let config = json!({
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipam": {
                        "type": "host-local",
                        "dataDir": self.folder().join("run/addresses"),
                        "ranges": [[{ "subnet": pods }]],
                        "routes": [{ "dst": "0.0.0.0/0" }],
                    },
                },
                { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
            ],
        });
        let path = self.cni().join("10-pods.conflist");
        fs::write(&path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }
}
