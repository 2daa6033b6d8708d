//! Owns asking: connect, one request, its answer, and again where a redirect stays on the host.

use std::error::Error;
use std::io;
use std::pin::pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{CONNECTION, HOST, HeaderValue, LOCATION};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::request::{Get, Url, authority};
use super::tls;

/// How often a redirect is followed.
const REDIRECTS: usize = 10;
/// As large as the head of an answer may be.
const HEAD: usize = 64 << 10;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status; 3xx where a redirect was not followed.
    pub(crate) status: u16,
    /// The beginning of the body.
    pub(crate) body: String,
    location: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// A server that was to speak TLS does not.
    #[error("http: server gave HTTP response to HTTPS client")]
    NotTls,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// Asks at `url`, with redirects followed, and reads at most `limit` bytes of the body.
pub(crate) async fn fetch(get: &Get, url: Url, limit: usize) -> Result<Answer, Failed> {
    let mut here = url;
    let mut virtual_host = get.virtual_host.clone();
    for _ in 0..REDIRECTS {
        let answer = once(get, &here, virtual_host.as_ref(), limit).await?;
        let Some(location) = &answer.location else { return Ok(answer) };
        let (next, relative) = here
            .follow(location)
            .ok_or_else(|| Failed::Other(format!("failed to parse Location header {location:?}")))?;
        if !next.host.eq_ignore_ascii_case(&here.host) {
            return Ok(answer);
        }
        if !relative {
            virtual_host = None;
        }
        here = next;
    }
    Err(Failed::Other(format!("stopped after {REDIRECTS} redirects")))
}

/// Connects, and says in the kubelet's words why not.
pub(crate) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    TcpStream::connect((host, port)).await.map_err(|error| {
        let words = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
            io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("dial tcp {}: {words}", authority(host, port)))
    })
}

async fn once(get: &Get, url: &Url, virtual_host: Option<&HeaderValue>, limit: usize) -> Result<Answer, Failed> {
    let other = |error: &dyn Error| Failed::Other(chain(error));
    let mut request = Request::get(&url.target).body(Empty::<Bytes>::new()).map_err(|error| other(&error))?;
    *request.headers_mut() = get.headers.clone();
    let host = match virtual_host {
        Some(host) => host.clone(),
        None => HeaderValue::from_str(&authority(&url.host, url.port)).map_err(|error| other(&error))?,
    };
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let stream = connect(&url.host, url.port).await.map_err(|error| other(&error))?;
    if !url.https {
        return exchange(stream, request, limit).await;
    }
    let name = ServerName::try_from(url.host.clone()).map_err(|error| other(&error))?;
    let connector = TlsConnector::from(tls::config().map_err(|error| other(&error))?);
    let stream = connector.connect(name, stream).await.map_err(|error| tls_failed(&error))?;
    exchange(stream, request, limit).await
}

/// What answers a handshake with plain text is no TLS record.
fn tls_failed(error: &io::Error) -> Failed {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => Failed::NotTls,
        _ => Failed::Other(format!("tls: {error}")),
    }
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>, limit: usize) -> Result<Answer, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.title_case_headers(true).max_buf_size(HEAD);
    let failed = |error: hyper::Error| Failed::Other(chain(&error));
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut answer = pin!(async { read(sender.send_request(request).await?, limit).await });
    // The connection moves the bytes; what it read last is still to be taken when it has ended.
    tokio::select! {
        biased;
        answer = &mut answer => answer.map_err(failed),
        _ = connection => answer.await.map_err(failed),
    }
}

async fn read(response: Response<hyper::body::Incoming>, limit: usize) -> Result<Answer, hyper::Error> {
    let status = response.status().as_u16();
    let location = response.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let location = location.filter(|location| matches!(status, 301 | 302 | 303 | 307 | 308) && !location.is_empty());
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < limit
        && let Some(frame) = body.frame().await
    {
        if let Some(data) = frame?.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(limit - bytes.len())]);
        }
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned(), location })
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
