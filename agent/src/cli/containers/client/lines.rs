//! Owns reading documents that the daemon sends one a line, as they come: events, progress, stats.

use anyhow::Context;
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

/// The documents of a response.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of line.
    searched: usize,
}

impl Lines {
    /// Of `response`.
    pub fn new(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), buffer: BytesMut::new(), searched: 0 }
    }

    /// The next document; none when the daemon is done.
    pub async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        loop {
            while let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                if let Some(document) = parse(&line)? {
                    return Ok(Some(document));
                }
            }
            self.searched = self.buffer.len();
            match self.body.frame().await {
                None => {
                    let rest = self.buffer.split();
                    self.searched = 0;
                    return parse(&rest);
                }
                Some(frame) => {
                    let frame = frame.context("the daemon went away while it answered")?;
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

fn parse<T: DeserializeOwned>(line: &[u8]) -> anyhow::Result<Option<T>> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line).map(Some).context("the daemon answered with an odd document")
}
