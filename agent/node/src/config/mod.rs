//! Owns the node's configuration: `/etc/keelson/node.toml` as a person writes it ([`raw`], strict) →
//! [`Settings`]. Every problem has its line; all of them are told at once.

mod kubeconfig;
mod machine;
mod raw;
mod settings;
#[cfg(test)]
mod tests;
mod validate;
mod words;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use keelson_common::strict::{Problem, Source};

pub use keelson_common::secret::{CaHash, Token};
pub use machine::{Facts, Identifiers};
pub use settings::{CgroupDriver, Join, Settings, Taint};
pub(crate) use words::host_and_port;
pub use words::node_name;

/// Where the configuration is.
pub const PATH: &str = "/etc/keelson/node.toml";

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it says makes no sense.
    #[error("{}", Listed(.0))]
    Wrong(Vec<Problem>),
}

/// Reads the configuration of this machine's node.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    parse(Source { path: path.to_owned(), text }, &Facts::of_this_machine())
}

/// Reads one file's text for a machine.
pub fn parse(source: Source, facts: &Facts<'_>) -> Result<Settings, ConfigError> {
    let raw: raw::Raw =
        keelson_common::strict::parse(&source, &raw::TOP).map_err(|problem| ConfigError::Wrong(vec![problem]))?;
    validate::validate(&source, &raw, facts).map_err(ConfigError::Wrong)
}

struct Listed<'a>(&'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line = if index == 0 { "" } else { "\n" };
            write!(f, "{line}{problem}")?;
        }
        Ok(())
    }
}
