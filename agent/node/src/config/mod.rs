//! Owns the node's configuration: `/etc/keelson/node.toml` ([`raw`], strict) → [`Settings`].

mod settings;

pub use settings::{CgroupDriver, Settings, Taint};
