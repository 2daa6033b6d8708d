//! Container images that become part of the operating system: `keelson lock` finds their digests
//! ([`resolve`]), `keelson compose` gets what is locked into the store ([`fetch`]) and puts it into
//! the root as one OCI layout ([`place`]), whose layers images share. skopeo speaks with registries
//! and reads archives; nothing that it brings gets a name before its digest is checked.

mod error;
mod fetch;
mod place;
mod resolve;
mod skopeo;
mod store;

pub use error::ImageError;
pub use fetch::{check_archives, fetch};
pub use place::{FOLDER, place};
pub use resolve::{resolve, resolve_archives};

use serde::{Deserialize, Serialize};

/// One image of the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// What containers call it, whole.
    pub name: String,
    /// The digest that its name has in the registry: of an index, or of the manifest itself.
    pub digest: String,
    /// The digest of the manifest for the host's architecture.
    pub manifest: String,
    /// SHA-256 of the archive it is taken from, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}
