//! Owns reading what the node tells of itself: one JSON document a line, a new one after each change.

use std::io;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;

/// What the node tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// `joining` or `joined`; for keelctl alone also `absent` and `stopped`.
    pub state: String,
    /// The node's name.
    pub name: String,
    /// The API server.
    pub server: String,
    /// The agent's version.
    pub version: String,
    /// The node's addresses.
    pub addresses: Vec<String>,
    /// What is in the way of joining.
    pub problem: Option<String>,
    /// Whether the cluster takes the node for ready.
    pub ready: Option<bool>,
    /// Why it is not.
    pub message: Option<String>,
    /// Whether no new pods come here.
    pub cordoned: bool,
    /// The node's certificate.
    pub certificate: Option<Lasting>,
    /// The kubelet API's.
    pub serving_certificate: Option<Lasting>,
    /// How many pods there are.
    pub pods: usize,
}

/// How long a certificate holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lasting {
    /// From when.
    pub not_before: String,
    /// Until when.
    pub not_after: String,
}

/// A connection to the node.
pub struct Reports(Lines<BufReader<UnixStream>>);

impl Reports {
    /// Connects; nothing where no node runs.
    pub async fn connect(path: &Path) -> anyhow::Result<Option<Self>> {
        match UnixStream::connect(path).await {
            Ok(stream) => Ok(Some(Self(BufReader::new(stream).lines()))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("cannot ask the node at {}", path.display())),
        }
    }

    /// The next report; nothing when the node ended.
    pub async fn next(&mut self) -> anyhow::Result<Option<Report>> {
        let line = self.0.next_line().await.context("cannot read what the node tells")?;
        line.map(|line| serde_json::from_str(&line)).transpose().context("the node tells what keelctl does not know")
    }
}
