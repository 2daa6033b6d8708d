//! Owns connections that stop being HTTP: after the head of the answer, bytes go both ways.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_stream::wrappers::ReceiverStream;

use crate::streams::logs::Chunks;

/// A connection, whichever way it came about.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Bytes of a terminal.
const RAW: &str = "application/vnd.docker.raw-stream";
/// Frames of two streams.
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

fn content_type(tty: bool) -> HeaderValue {
    HeaderValue::from_static(if tty { RAW } else { MULTIPLEXED })
}

/// Answers with a connection that `serve` gets. A client that does not ask to upgrade to `tcp` gets
/// what is said in the body of an answer.
pub fn hijack<S, F>(mut request: Request, tty: bool, serve: S) -> Response
where
    S: FnOnce(Box<dyn Connection>) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    if !request.headers().contains_key(UPGRADE) {
        return in_body(request, tty, serve);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => serve(Box::new(TokioIo::new(connection))).await,
            Err(error) => tracing::debug!(%error, "a client went before its connection was one"),
        }
    });
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    headers.insert(CONTENT_TYPE, content_type(tty));
    response
}

fn in_body<S, F>(request: Request, tty: bool, serve: S) -> Response
where
    S: FnOnce(Box<dyn Connection>) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (from, to) = tokio::io::split(theirs);
    tokio::spawn(feed(request.into_body(), to));
    tokio::spawn(serve(Box::new(ours)));
    let body = Body::from_stream(tokio_util::io::ReaderStream::new(from));
    ([(CONTENT_TYPE, content_type(tty))], body).into_response()
}

async fn feed(body: Body, mut to: tokio::io::WriteHalf<DuplexStream>) {
    let mut chunks = body.into_data_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    to.shutdown().await.ok();
}

/// An answer that is an archive, in `chunks`.
pub fn archive(chunks: Chunks) -> Response {
    ([(CONTENT_TYPE, "application/x-tar")], Body::from_stream(ReceiverStream::new(chunks))).into_response()
}

/// An answer that goes on as long as there are `chunks`.
pub fn streamed(tty: bool, chunks: Chunks) -> Response {
    ([(CONTENT_TYPE, content_type(tty))], Body::from_stream(ReceiverStream::new(chunks))).into_response()
}
