//! Owns serving a repository over HTTP: its files as they are, with ranges, to GET and HEAD alone.
//! Any static web server does the same; this one is at hand and says what is wrong with a folder
//! that cannot be served.

mod inside;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http_body_util::BodyExt;
use ostree::{Repo, RepoMode};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower_http::services::ServeDir;

use inside::Inside;

/// How long downloads under way may take once the server was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why a repository cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder is no repository.
    #[error("{} is no OSTree repository: name the one that `keelson compose --repo` commits to", path.display())]
    NoRepository {
        /// The folder.
        path: PathBuf,
        /// What libostree said.
        source: glib::Error,
    },
    /// The repository is of a kind whose files mean nothing to a client.
    #[error("{0} is a repository of mode {mode}, and clients pull from archives: make one by \
             `ostree init --repo=NEW --mode=archive` and `ostree pull-local --repo=NEW {0}`", path.display())]
    NoArchive {
        /// The folder.
        path: PathBuf,
        /// Its mode, `bare`.
        mode: &'static str,
    },
    /// The folder went away, or may not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address is taken, forbidden, or not this machine's.
    #[error("cannot listen on {address}{}", remedy(.source))]
    Listen {
        /// The address asked for.
        address: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The server ended on its own.
    #[error("the server failed")]
    Run(#[source] io::Error),
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => ": another program does; port 0 takes a free one",
        io::ErrorKind::PermissionDenied => ": ports below 1024 are root's",
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    }
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Server {
    root: PathBuf,
    listener: TcpListener,
    address: SocketAddr,
    sent: Sent,
}

/// How much a server has sent, headers aside.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<AtomicU64>);

impl Sent {
    /// In bytes, until now.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Server {
    /// Checks the repository and listens on `address`, `HOST:PORT`; port 0 takes a free one.
    pub async fn bind(repo: &Path, address: &str) -> Result<Self, ServeError> {
        check(repo)?;
        let root = repo.canonicalize().map_err(|source| ServeError::Read { path: repo.to_owned(), source })?;
        let failed = |source| ServeError::Listen { address: address.to_owned(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { root, listener, address, sent: Sent::default() })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it sends from now on.
    pub fn sent(&self) -> Sent {
        self.sent.clone()
    }

    /// Answers requests until `stop` is ready; then no new ones are taken, and those under way
    /// have five seconds to end.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        let (stopping, stopped) = oneshot::channel();
        let stop = async {
            stop.await;
            // Nobody listens any more when the server has ended on its own.
            let _ = stopping.send(());
        };
        let serving = axum::serve(self.listener, router(&self.root, self.sent)).with_graceful_shutdown(stop);
        let late = async {
            // The sender is dropped without a word when the server ended on its own.
            match stopped.await {
                Ok(()) => tokio::time::sleep(GRACE).await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            result = serving => result.map_err(ServeError::Run),
            () = late => Ok(()),
        }
    }
}

/// Fails unless `path` is an archive repository.
fn check(path: &Path) -> Result<(), ServeError> {
    let repo = Repo::new_for_path(path);
    repo.open(None::<&gio::Cancellable>)
        .map_err(|source| ServeError::NoRepository { path: path.to_owned(), source })?;
    let mode = match repo.mode() {
        RepoMode::Archive => return Ok(()),
        RepoMode::Bare => "bare",
        RepoMode::BareUser => "bare-user",
        RepoMode::BareUserOnly => "bare-user-only",
        RepoMode::BareSplitXattrs => "bare-split-xattrs",
        _ => "unknown to this libostree",
    };
    Err(ServeError::NoArchive { path: path.to_owned(), mode })
}

fn router(root: &Path, sent: Sent) -> Router {
    let files = ServeDir::with_backend(root, Inside::new(root)).append_index_html_on_directories(false);
    Router::new()
        .fallback_service(files)
        .layer(middleware::from_fn_with_state(sent, count))
        .layer(middleware::from_fn(log))
}

async fn count(State(sent): State<Sent>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            sent.add(frame.data_ref().map_or(0, Bytes::len));
            frame
        }))
    })
}

async fn log(request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    tracing::info!("{line} {}", response.status().as_u16());
    response
}
