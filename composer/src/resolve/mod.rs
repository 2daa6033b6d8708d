//! Owns `Manifest -> Lock`: apt's own solver chooses the packages, over indexes whose signatures
//! apt verified, with folders of its own. Nothing of the build machine's apt or dpkg is read.

mod apt;
pub mod local;
mod uris;

use std::io;
use std::path::PathBuf;

use keelson_common::command::CommandError;
use sha2::{Digest, Sha256};

use crate::deb::archive::DebError;
use crate::images::{self, ImageError};
use crate::lock::Lock;
use crate::manifest::{Manifest, Repository};
use crate::settings::Settings;

/// A resolution that failed.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The private folders could not be made.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// What could not be made.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An index could not be fetched or is not signed by a key the manifest trusts.
    #[error("the package indexes cannot be fetched or their signatures are not good{}", said(.messages))]
    Update {
        /// What apt said.
        messages: Vec<String>,
    },
    /// There is no set of packages that does what the manifest asks.
    #[error("{} cannot be resolved{}", manifest.display(), said(.messages))]
    Unsatisfiable {
        /// The manifest.
        manifest: PathBuf,
        /// What apt said.
        messages: Vec<String>,
    },
    /// apt could not be run.
    #[error("apt cannot be run")]
    Apt(#[from] CommandError),
    /// An image cannot be found.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file of a local folder is no package.
    #[error("a local package cannot be used")]
    Local(#[from] DebError),
    /// apt printed a line in a shape we do not know.
    #[error("apt printed a line that is not understood: {0}")]
    Line(String),
}

fn said(messages: &[String]) -> String {
    messages.iter().map(|message| format!("\n  | {message}")).collect()
}

/// Chooses the packages and the images for `manifest`. Needs the network (unless every index is local).
pub fn resolve(manifest: &Manifest, settings: &Settings) -> Result<Lock, ResolveError> {
    let apt = apt::Apt::prepare(manifest, settings)?;
    apt.update()?;
    let packages = uris::parse(&apt.print_uris(manifest)?, &apt.origins)?;
    let images = images::resolve(manifest, &settings.cache)?;
    Ok(Lock { images, ..Lock::new(request(manifest), apt.newest_date(), packages) })
}

/// SHA-256 over what resolution depends on. A lock whose request differs was made for another
/// question and must be made anew.
pub fn request(manifest: &Manifest) -> String {
    let question = (
        &manifest.architecture,
        &manifest.repositories,
        manifest.local.len(),
        &manifest.packages,
        &manifest.exclude,
        manifest.recommends,
    );
    let mut question = serde_json::to_vec(&question).unwrap_or_default();
    if !manifest.images.is_empty() {
        let images: Vec<_> = manifest.images.iter().map(|image| (image, image.archive.is_some())).collect();
        question.extend(serde_json::to_vec(&images).unwrap_or_default());
    }
    hex::encode(Sha256::digest(question))
}

/// Where a repository is: its own URI, or the archive it names below the mirror.
pub fn base_uri(repository: &Repository, settings: &Settings) -> String {
    match &repository.uri {
        Some(uri) => uri.trim_end_matches('/').to_owned(),
        None => format!("{}/{}", settings.mirror, repository.archive),
    }
}
