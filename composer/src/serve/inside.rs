//! Owns what may be read when a repository is served: files whose real place is inside it. A link
//! that leads out is as good as absent.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use tower_http::services::fs::{Backend, TokioBackend, TokioFile};

/// The files of a folder.
#[derive(Debug, Clone)]
pub struct Inside {
    root: Arc<Path>,
}

impl Inside {
    /// The files inside `root`, a canonical path.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    async fn real(self, path: PathBuf) -> io::Result<PathBuf> {
        let real = tokio::fs::canonicalize(path).await?;
        if real.starts_with(&self.root) { Ok(real) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Backend for Inside {
    type File = TokioFile;
    type Metadata = Metadata;
    type OpenFuture = Answer<TokioFile>;
    type MetadataFuture = Answer<Metadata>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let inside = self.clone();
        Box::pin(async move { TokioBackend.open(inside.real(path).await?).await })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let inside = self.clone();
        Box::pin(async move { TokioBackend.metadata(inside.real(path).await?).await })
    }
}
