//! What goes in and out of containers: FIFOs to their shims, logs, attached terminals.

use super::paths::Paths;

/// The streams of this host's containers.
#[derive(Debug)]
pub struct Streams {
    paths: Paths,
}

impl Streams {
    /// Streams whose FIFOs and logs lie where `paths` say.
    pub fn new(paths: Paths) -> Self {
        Self { paths }
    }
}
