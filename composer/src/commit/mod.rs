//! Owns `Rootfs -> Commit`: the objects of a root are written in parallel through libostree, then
//! one commit over them, its signature, the static delta from its parent, and the summary.

pub mod objects;
pub mod publish;
pub mod signing;
pub mod version;

use std::io;
use std::path::{Path, PathBuf};

/// A commit that could not be made or published.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// libostree refused.
    #[error("cannot {action}")]
    Ostree {
        /// What was tried.
        action: &'static str,
        /// What libostree says.
        source: glib::Error,
    },
    /// A file of the root cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// GnuPG failed.
    #[error("cannot prepare the signing key")]
    Key(#[from] keelson_common::command::CommandError),
    /// The repository folder is something else.
    #[error("{} is no archive repository: {why}", path.display())]
    Repository {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn ostree(action: &'static str) -> impl Fn(glib::Error) -> CommitError {
    move |source| CommitError::Ostree { action, source }
}

/// Opens the repository in `path`, making an archive repository where there is none.
pub fn open_or_create(path: &Path) -> Result<ostree::Repo, CommitError> {
    let repo = ostree::Repo::new_for_path(path);
    let none = gio::Cancellable::NONE;
    if !path.join("config").exists() {
        if path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            let why = "it holds other files; name an empty folder or one that does not exist".to_owned();
            return Err(CommitError::Repository { path: path.to_owned(), why });
        }
        std::fs::create_dir_all(path).map_err(|source| CommitError::Read { path: path.to_owned(), source })?;
        repo.create(ostree::RepoMode::Archive, none).map_err(ostree("create the repository"))?;
    }
    repo.open(none).map_err(ostree("open the repository"))?;
    match repo.mode() {
        ostree::RepoMode::Archive => Ok(repo),
        other => {
            let why = format!("its mode is {other:?}; `ostree init --mode=archive` makes one");
            Err(CommitError::Repository { path: path.to_owned(), why })
        }
    }
}
