//! Owns what a command is told of a node by its environment.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result};

use super::NodeRig;
use crate::cluster::images;

impl NodeRig {
    /// Variables that name the node's parts; `ready` is what [`NodeRig::join`] gave.
    pub fn environment(&self, ready: Duration) -> Result<Vec<(&'static str, OsString)>> {
        let agent = self.agent().context("the node has no agent")?;
        Ok(vec![
            ("KEELSON_TEST_NODE", self.folder().into()),
            ("KEELSON_TEST_NODE_NAMESPACE", self.namespace().path().into()),
            ("KEELSON_TEST_AGENT", agent.pid().to_string().into()),
            ("KEELSON_TEST_PROGRAMS", self.program_ids().into()),
            ("KEELSON_TEST_CONTAINERD", self.containerd().pid().to_string().into()),
            ("KEELSON_TEST_READY", format!("{:.2}", ready.as_secs_f64()).into()),
            ("KEELSON_TEST_BUSYBOX", images::named("busybox")?.into()),
            ("KEELSON_TEST_PAUSE", images::named("pause")?.into()),
            ("CONTAINER_RUNTIME_ENDPOINT", format!("unix://{}", self.socket().display()).into()),
        ])
    }

    /// `NAME=PID` of each program of the node.
    fn program_ids(&self) -> String {
        let ids = self.programs.iter().map(|(name, _, process)| format!("{name}={}", process.pid()));
        ids.collect::<Vec<_>>().join(" ")
    }
}
