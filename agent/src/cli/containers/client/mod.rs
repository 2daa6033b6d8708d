//! The daemon as keelctl sees it: HTTP over its Unix socket, a connection a request.
//!
//! The documents are those of `bollard::models`; the connection is hyper's own, because three
//! things are needed that bollard hides: the bytes of a terminal as they come, the moment when a
//! wait is in place, and the daemon's documents unchanged for `inspect` and `--json`.

pub mod archive;
mod body;
mod failure;
mod frames;
mod lines;
mod path;

use std::path::{Path, PathBuf};

use anyhow::Context;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

pub use body::Body;
pub use failure::Failure;
pub use frames::{Frames, Stream};
pub use lines::Lines;
pub use path::{Filters, Target};

/// The socket that the daemon of a host serves on.
pub const DEFAULT_HOST: &str = "unix:///run/keelson/containers.sock";
/// The version of the API that is spoken; the daemon needs no other.
const API: &str = "1.47";

/// A bidirectional stream to a container's process.
pub type Hijacked = TokioIo<Upgraded>;

/// Where the daemon is.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    api: String,
}

impl Client {
    /// The daemon at `host`: `unix:///a/path`, or the path alone.
    pub fn new(host: &str) -> anyhow::Result<Self> {
        let socket = match host.split_once("://") {
            None => host,
            Some(("unix", path)) => path,
            Some((scheme, _)) => {
                anyhow::bail!("unable to parse host \"{host}\": {scheme}:// is not spoken, unix:// is")
            }
        };
        anyhow::ensure!(Path::new(socket).is_absolute(), "unable to parse host \"{host}\": its path is not absolute");
        let api = std::env::var("KEELCTL_API_VERSION").unwrap_or_else(|_| API.to_owned());
        Ok(Self { socket: socket.into(), api })
    }

    /// Sends a request; an answer that is no success is a [`Failure`].
    pub async fn send(&self, method: Method, target: &Target, body: Body) -> anyhow::Result<Response<Incoming>> {
        let request = self.request(method, target, body)?;
        self.exchange(request).await
    }

    /// The document at `target`.
    pub async fn get<T: DeserializeOwned>(&self, target: &Target) -> anyhow::Result<T> {
        self.call(Method::GET, target, Body::Empty).await
    }

    /// Posts a document and reads the one that comes back.
    pub async fn post<T: DeserializeOwned>(&self, target: &Target, document: &impl Serialize) -> anyhow::Result<T> {
        self.call(Method::POST, target, Body::document(document)?).await
    }

    /// Asks for something to be done; whether anything changed (304 says no).
    pub async fn act(&self, target: &Target) -> anyhow::Result<bool> {
        let response = self.send(Method::POST, target, Body::Empty).await?;
        Ok(response.status() != StatusCode::NOT_MODIFIED)
    }

    /// Sends and reads one document.
    pub async fn call<T: DeserializeOwned>(&self, method: Method, target: &Target, body: Body) -> anyhow::Result<T> {
        let response = self.send(method, target, body).await?;
        read(response).await
    }

    /// Opens a stream to a process: the connection stops being HTTP.
    pub async fn hijack(&self, target: &Target, body: Body) -> anyhow::Result<Hijacked> {
        let mut request = self.request(Method::POST, target, body)?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
        let response = self.exchange(request).await?;
        let upgraded = hyper::upgrade::on(response).await.context("the daemon opened no stream")?;
        Ok(TokioIo::new(upgraded))
    }

    fn request(&self, method: Method, target: &Target, body: Body) -> anyhow::Result<Request<Body>> {
        let mut request =
            Request::builder().method(method).uri(format!("/v{}{}", self.api, target.as_str())).header(HOST, "keelson");
        if let Some(kind) = body.content_type() {
            request = request.header(CONTENT_TYPE, kind);
        }
        for (name, value) in target.headers() {
            request = request.header(*name, value);
        }
        request.body(body).context("the request is malformed")
    }

    async fn exchange(&self, request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| Failure::absent(&self.socket, error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.context("cannot talk to the daemon")?;
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(request).await.context("the daemon went away while asked")?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NOT_MODIFIED => Ok(response),
            status => {
                let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                Err(Failure::refused(status.as_u16(), &body).into())
            }
        }
    }
}

/// The document that a response carries.
pub async fn read<T: DeserializeOwned>(response: Response<Incoming>) -> anyhow::Result<T> {
    let body = response.into_body().collect().await.context("the daemon went away while it answered")?.to_bytes();
    serde_json::from_slice(&body).context("the daemon answered with an odd document")
}
