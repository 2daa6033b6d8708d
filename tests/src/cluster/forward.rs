//! Owns [`Forward`]: kubectl's port-forward to a pod, for as long as somebody asks through it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;

use super::{ControlPlane, program};

/// A port of the control plane's network that leads into a pod.
pub struct Forward {
    kubectl: Child,
    /// Open until the end: kubectl says each connection.
    said: BufReader<ChildStdout>,
    address: String,
}

impl ControlPlane {
    /// Runs `kubectl port-forward WORDS`, and waits until it listens.
    pub fn forward(&self, words: &[&str]) -> Result<Forward> {
        let mut command = self.command(program("kubectl")?);
        let mut kubectl =
            command.arg("port-forward").args(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let said = BufReader::new(kubectl.stdout.take().context("no output")?);
        let mut forward = Forward { kubectl, said, address: String::new() };
        let mut line = String::new();
        forward.said.read_line(&mut line)?;
        let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next());
        address.with_context(|| format!("no address in {line:?}"))?.clone_into(&mut forward.address);
        Ok(forward)
    }

    /// What is at a URL, as the control plane's network sees it, asked twice.
    pub fn fetch_twice(&self, url: &str) -> Result<String> {
        let mut curl = self.command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "30"]);
        Ok(curl.args([url, url]).output_text()?)
    }
}

impl Forward {
    /// Where it listens, as the beginning of a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
