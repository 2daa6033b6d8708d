//! Owns reading what the node tells of itself: one JSON document a line, a new one after each change.

use std::io;
use std::path::Path;

use anyhow::Context;
use keelson_common::node::Report;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;

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
