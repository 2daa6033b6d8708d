//! Owns a reboot lock for tests: a server of the FleetLock protocol, written after its document and with nothing of
//! the agent's client in it. It has one slot, of the group `default`, at a free loopback port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The group whose slot is lent.
const GROUP: &str = "default";

#[derive(Debug, Default)]
struct Book {
    holder: Option<String>,
    refused: Vec<String>,
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves until it is dropped.
    pub fn start() -> Result<Self> {
        let book = Arc::new(Mutex::new(Book::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("no loopback port is free")?;
        let address = listener.local_addr()?;
        let app = Router::new()
            .route("/base/v1/pre-reboot", post(answer))
            .route("/base/v1/steady-state", post(answer))
            .with_state(book.clone());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, book, runtime: Some(runtime) })
    }

    /// Its base URL for programs of this machine.
    pub fn url(&self) -> String {
        format!("http://{}/base/", self.address)
    }

    /// Its base URL for a guest of QEMU's user network.
    pub fn url_for_guests(&self) -> String {
        format!("http://10.0.2.2:{}/base/", self.address.port())
    }

    /// Who has the slot.
    pub fn holder(&self) -> Option<String> {
        lock(&self.book).holder.clone()
    }

    /// Gives the slot to somebody, or to nobody.
    pub fn lend(&self, holder: Option<&str>) {
        lock(&self.book).holder = holder.map(str::to_owned);
    }

    /// Who asked for the slot in vain.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.book).refused.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The protocol in one function.
async fn answer(
    State(book): State<Arc<Mutex<Book>>>,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, String) {
    let refuse = |status, kind: &str| (status, json!({ "kind": kind, "value": "why" }).to_string());
    let client = &body["client_params"];
    let marked = headers.get("fleet-lock-protocol").is_some_and(|value| value == "true");
    let Some(id) = client["id"].as_str().filter(|_| marked) else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_client_identity");
    };
    if client["group"] != GROUP {
        return refuse(StatusCode::BAD_REQUEST, "unknown_group");
    }
    let mut book = lock(&book);
    let mine = book.holder.as_deref() == Some(id);
    match uri.path() {
        "/base/v1/pre-reboot" if mine || book.holder.is_none() => book.holder = Some(id.to_owned()),
        "/base/v1/pre-reboot" => {
            book.refused.push(id.to_owned());
            return refuse(StatusCode::CONFLICT, "failed_lock");
        }
        _ if mine => book.holder = None,
        _ => {}
    }
    (StatusCode::OK, String::new())
}
