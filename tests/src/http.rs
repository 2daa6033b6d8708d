//! Owns a web server for tests: a folder on a loopback port, a log of what was asked for, and the
//! power to stop answering in the middle of a download.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower_http::services::ServeDir;

/// After which requests the server stops answering.
#[derive(Debug, Clone, Copy)]
pub struct Stall {
    /// Only requests whose path contains this count, `/objects/`.
    pub path: &'static str,
    /// How many of them are answered.
    pub after: usize,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<String>,
    stalled: bool,
}

#[derive(Debug, Default)]
struct Shared {
    stall: Option<Stall>,
    seen: Mutex<Seen>,
    stalls: Condvar,
}

impl Shared {
    /// Notes the request for `path`; whether it is to be answered.
    fn admit(&self, path: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.requests.push(path.to_owned());
        let Some(stall) = self.stall else { return true };
        let counted = seen.requests.iter().filter(|path| path.contains(stall.path)).count();
        seen.stalled |= counted > stall.after;
        if seen.stalled {
            self.stalls.notify_all();
        }
        !seen.stalled
    }
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves `folder`, with ranges, at a free loopback port.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::launch(folder, None)
    }

    /// As [`Server::start`], but stops answering at one point for good.
    pub fn stalling(folder: &Path, stall: Stall) -> Result<Self> {
        Self::launch(folder, Some(stall))
    }

    fn launch(folder: &Path, stall: Option<Stall>) -> Result<Self> {
        let shared = Arc::new(Shared { stall, ..Shared::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("no loopback port is free")?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .fallback_service(ServeDir::new(folder))
            .layer(middleware::from_fn_with_state(shared.clone(), gate));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, shared, runtime: Some(runtime) })
    }

    /// Its address for programs on this machine, `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port, which a guest of QEMU's user network finds at 10.0.2.2.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The paths asked for so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    /// Waits until the stall is reached; false when it is not within `limit`.
    pub fn wait_stalled(&self, limit: Duration) -> bool {
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.stalls.wait_timeout_while(seen, limit, |seen| !seen.stalled);
        waited.unwrap_or_else(PoisonError::into_inner).0.stalled
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn gate(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if !shared.admit(request.uri().path()) {
        std::future::pending::<()>().await;
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use keelson_common::command::CommandExt;

    use super::*;

    fn get(url: &str, words: &[&str]) -> Option<String> {
        Command::new("curl").args(["--silent", "--fail", "--max-time", "2"]).args(words).arg(url).output_text().ok()
    }

    #[test]
    fn serves_whole_files_and_ranges() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "0123456789").unwrap();
        let server = Server::start(dir.path()).unwrap();
        let url = format!("{}/file", server.url());
        assert_eq!(get(&url, &[]).as_deref(), Some("0123456789"));
        assert_eq!(get(&url, &["--range", "2-4"]).as_deref(), Some("234"));
        assert_eq!(get(&format!("{}/none", server.url()), &[]), None);
        assert_eq!(server.requests(), ["/file", "/file", "/none"]);
    }

    #[test]
    fn stalls_after_the_given_number() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let server = Server::stalling(dir.path(), Stall { path: "file", after: 1 }).unwrap();
        let url = format!("{}/file", server.url());
        assert_eq!(get(&url, &[]).as_deref(), Some("x"));
        assert!(!server.wait_stalled(Duration::ZERO));
        assert_eq!(get(&url, &[]), None);
        assert!(server.wait_stalled(Duration::ZERO));
    }
}
