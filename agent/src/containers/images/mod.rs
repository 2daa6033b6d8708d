//! Images in containerd: found by name, pulled, pushed, loaded, saved and made.

use oci_spec::image::ImageConfiguration;

use super::containerd::Containerd;
use super::error::Result;
use super::events::Events;
use super::options::Options;

/// An image that is in containerd, unpacked.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration, as Docker shows it: `sha256:…`.
    pub id: String,
    /// The digest of its manifest.
    pub digest: String,
    /// Its names, whole: `docker.io/library/debian:13`.
    pub names: Vec<String>,
    /// Its configuration.
    pub config: ImageConfiguration,
    /// The key of the snapshot that its layers make.
    pub chain: String,
    /// Bytes of its layers, unpacked.
    pub size: i64,
}

/// The images of our namespace.
#[derive(Debug)]
pub struct Images {
    containerd: Containerd,
    events: Events,
}

impl Images {
    /// The images in `containerd`.
    pub fn new(containerd: Containerd, events: Events, _options: &Options) -> Result<Self> {
        Ok(Self { containerd, events })
    }
}
