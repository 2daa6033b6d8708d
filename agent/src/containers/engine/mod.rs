//! The containers: what is known of each, and one owner for everything that happens to it.

use std::sync::Arc;

use super::containerd::Containerd;
use super::error::Result;
use super::events::Events;
use super::images::Images;
use super::network::Network;
use super::options::Options;
use super::paths::Paths;
use super::streams::Streams;

/// The containers of this host.
#[derive(Debug)]
pub struct Engine {
    paths: Paths,
    containerd: Containerd,
    events: Events,
    images: Arc<Images>,
    network: Arc<Network>,
    streams: Arc<Streams>,
}

impl Engine {
    /// Containers made of the other parts.
    pub fn new(
        paths: Paths,
        containerd: Containerd,
        events: Events,
        images: Arc<Images>,
        network: Arc<Network>,
        streams: Arc<Streams>,
        _options: &Options,
    ) -> Result<Self> {
        Ok(Self { paths, containerd, events, images, network, streams })
    }

    /// Takes up the containers that a daemon before this one left, running or not.
    pub async fn recover(&self) -> Result<()> {
        Ok(())
    }
}
