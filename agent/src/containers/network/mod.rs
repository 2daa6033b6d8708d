//! Networks of containers: their namespaces, the default bridge by the CNI plugins, published
//! ports, links, and the files that tell a container of them.

use super::error::Result;
use super::options::Options;
use super::paths::Paths;

/// The networks of this host's containers.
#[derive(Debug)]
pub struct Network {
    paths: Paths,
}

impl Network {
    /// Networks as `options` say.
    pub fn new(paths: Paths, _options: &Options) -> Result<Self> {
        Ok(Self { paths })
    }
}
