//! Owns handing a connection through to containerd's streaming server: the request to upgrade is replayed
//! there, and from then on bytes are copied both ways. What they mean (SPDY, websockets) is not looked at.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::reply::{self, Refusal, Response};

/// How long containerd's server may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long the other direction may go on when one has ended.
const DRAIN: Duration = Duration::from_secs(10);
/// How much of an error's text is handed through.
const ERROR: usize = 64 << 10;

/// Replays a request at `url` and splices what follows. The answer is that server's.
pub(super) async fn replay(mut request: Request<Incoming>, url: &str) -> Result<Response, Refusal> {
    if !wants_upgrade(request.headers()) {
        return Err(Refusal::bad("Upgrade request required"));
    }
    let answer = tokio::time::timeout(ANSWER, ask(&request, url)).await;
    let mut answer = answer.map_err(|_| Refusal::internal("the runtime's streaming server did not answer"))??;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return refused(answer).await;
    }
    let backend = hyper::upgrade::on(&mut answer);
    tokio::spawn(through(hyper::upgrade::on(&mut request), backend));
    let mut response = Response::new(reply::full(Bytes::new()));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

fn wants_upgrade(headers: &HeaderMap) -> bool {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut options = named.flat_map(|value| value.split(','));
    headers.contains_key(UPGRADE) && options.any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// Asks containerd's server the same: method and headers, but not who asks here.
async fn ask(request: &Request<Incoming>, url: &str) -> Result<hyper::Response<Incoming>, Refusal> {
    let broken = || Refusal::internal(format!("the runtime's streaming address cannot be used: {url}"));
    let url: Uri = url.parse().map_err(|_| broken())?;
    let authority = url.authority().filter(|_| url.scheme_str() == Some("http")).ok_or_else(broken)?;
    let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
    let dialed = |error: &dyn std::fmt::Display| Refusal::internal(format!("error dialing backend: {error}"));
    let stream = TcpStream::connect(&address).await.map_err(|error| dialed(&error))?;
    stream.set_nodelay(true).map_err(|error| dialed(&error))?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| dialed(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "the connection to the streaming server ended");
        }
    });
    let mut replayed = Request::new(Empty::<Bytes>::new());
    replayed.method_mut().clone_from(request.method());
    *replayed.uri_mut() = url.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| broken())?;
    replayed.headers_mut().clone_from(request.headers());
    for name in [AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        replayed.headers_mut().remove(name);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| broken())?;
    replayed.headers_mut().insert(HOST, host);
    sender.send_request(replayed).await.map_err(|error| Refusal::internal(format!("error sending request: {error}")))
}

/// Hands an error through.
async fn refused(answer: hyper::Response<Incoming>) -> Result<Response, Refusal> {
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return Err(Refusal::internal(format!("invalid upgrade response: status code {}", status.as_u16())));
    }
    let body = Limited::new(answer.into_body(), ERROR).collect().await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    Ok(reply::text(status, text))
}

async fn through(client: OnUpgrade, backend: OnUpgrade) {
    match tokio::try_join!(client, backend) {
        Ok((client, backend)) => splice(TokioIo::new(client), TokioIo::new(backend)).await,
        Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
    }
}

/// Copies both ways. When one side has ended the other is told so, and may finish what it has to say.
async fn splice(client: impl AsyncRead + AsyncWrite, backend: impl AsyncRead + AsyncWrite) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_backend, mut to_backend) = tokio::io::split(backend);
    let up = async {
        let copied = tokio::io::copy(&mut from_client, &mut to_backend).await;
        to_backend.shutdown().await.and(copied)
    };
    let down = async {
        let copied = tokio::io::copy(&mut from_backend, &mut to_client).await;
        to_client.shutdown().await.and(copied)
    };
    tokio::pin!(up, down);
    let ended: (io::Result<u64>, _) = tokio::select! {
        sent = &mut up => (sent, tokio::time::timeout(DRAIN, down).await),
        received = &mut down => (received, tokio::time::timeout(DRAIN, up).await),
    };
    tracing::debug!(?ended, "a stream ended");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_asked_for_by_two_headers() {
        let headers = |pairs: &[(_, &'static str)]| -> HeaderMap {
            pairs.iter().cloned().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
        };
        assert!(wants_upgrade(&headers(&[(CONNECTION, "keep-alive, upgrade"), (UPGRADE, "websocket")])));
        assert!(!wants_upgrade(&headers(&[(CONNECTION, "Upgrade")])));
        assert!(!wants_upgrade(&headers(&[(CONNECTION, "keep-alive"), (UPGRADE, "SPDY/3.1")])));
    }

    #[tokio::test]
    async fn each_side_hears_that_the_other_has_ended() {
        use tokio::io::AsyncReadExt;
        let (mut person, client) = tokio::io::duplex(64);
        let (mut container, backend) = tokio::io::duplex(64);
        let splicing = tokio::spawn(splice(client, backend));
        person.write_all(b"in").await.expect("written");
        person.shutdown().await.expect("ended");
        let mut heard = String::new();
        container.read_to_string(&mut heard).await.expect("read");
        container.write_all(b"out").await.expect("written");
        drop(container);
        let mut answered = String::new();
        person.read_to_string(&mut answered).await.expect("read");
        assert_eq!((&*heard, &*answered), ("in", "out"));
        tokio::time::timeout(DRAIN / 2, splicing).await.expect("in time").expect("joined");
    }
}
