//! Owns what can go wrong with images; every error names the line of the manifest it is about.

use std::io;
use std::path::PathBuf;

use keelson_common::command::CommandError;

/// An image that cannot be had, or is not the one that was locked.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// skopeo could not get it.
    #[error("{site}: cannot get the image {name}")]
    Skopeo {
        /// Where the manifest names it.
        site: String,
        /// Its name.
        name: String,
        /// What skopeo said.
        source: CommandError,
    },
    /// What came is not what was locked.
    #[error(
        "{site}: the image {name} is not the one that is locked: its {what} is {found}, the lock has {expected}; \
         `keelson lock` accepts what there is now"
    )]
    Differs {
        /// Where the manifest names it.
        site: String,
        /// Its name.
        name: String,
        /// What of it.
        what: &'static str,
        /// What it is.
        found: String,
        /// What the lock has.
        expected: String,
    },
    /// The lock does not have it.
    #[error("{site}: the image {name} is not in the lock; run `keelson lock`")]
    NotLocked {
        /// Where the manifest names it.
        site: String,
        /// Its name.
        name: String,
    },
    /// It is of no known format, or for other machines.
    #[error("{site}: the image {name} cannot be used: {why}")]
    Unusable {
        /// Where the manifest names it.
        site: String,
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// A file of the store, or of the root, failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Says what was done to what.
pub fn io_error(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { action, path, source }
}
