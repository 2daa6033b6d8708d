//! Owns speaking the FleetLock protocol: a server lends reboot slots to the hosts of a group. Both requests
//! may be repeated: a host that has a slot gets it again, and one that has none gives none back.
//!
//! <https://coreos.github.io/zincati/development/fleetlock/protocol/> documents it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How much of an answer is read.
const LONGEST: usize = 64 * 1024;

/// Why the server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum FleetLockError {
    /// The slots are all taken, say, or the group is unknown.
    #[error("the FleetLock server refuses: {value} ({kind})")]
    Refused {
        /// What it is about, in its own short words.
        kind: String,
        /// A sentence of its own.
        value: String,
    },
    /// It is no FleetLock server, it seems.
    #[error("{url} answers {status} without a reason; is a FleetLock server there?")]
    Odd {
        /// What was asked.
        url: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The URL is none.
    #[error("`{0}` is no http:// or https:// URL")]
    Url(String),
    /// It cannot be reached.
    #[error("cannot reach the FleetLock server at {0}")]
    Unreachable(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not answer.
    #[error("the FleetLock server at {0} did not answer within 30 s")]
    Slow(String),
}

/// A host to such a server.
#[derive(Debug, Clone)]
pub struct FleetLock {
    base: String,
    body: String,
}

/// What the server says with an error.
#[derive(Debug, Deserialize)]
struct Refusal {
    kind: String,
    #[serde(default)]
    value: String,
}

impl FleetLock {
    /// The host `id` of `group`, to the server whose base URL is `base`.
    pub fn new(base: &str, group: &str, id: &str) -> Self {
        let body = serde_json::json!({ "client_params": { "id": id, "group": group } }).to_string();
        Self { base: base.trim_end_matches('/').to_owned(), body }
    }

    /// Takes a slot, or keeps the one that this host has.
    pub async fn pre_reboot(&self) -> Result<(), FleetLockError> {
        self.ask("v1/pre-reboot").await
    }

    /// Gives the slot back, if this host has one.
    pub async fn steady_state(&self) -> Result<(), FleetLockError> {
        self.ask("v1/steady-state").await
    }

    async fn ask(&self, path: &str) -> Result<(), FleetLockError> {
        let url = format!("{}/{path}", self.base);
        let uri: Uri = url.parse().map_err(|_| FleetLockError::Url(url.clone()))?;
        let answer = tokio::time::timeout(ANSWER, exchange(&uri, &self.body)).await;
        let (status, text) = match answer {
            Err(_) => return Err(FleetLockError::Slow(self.base.clone())),
            Ok(Err(Problem::Url)) => return Err(FleetLockError::Url(url)),
            Ok(Err(Problem::Other(error))) => return Err(FleetLockError::Unreachable(self.base.clone(), error)),
            Ok(Ok(answer)) => answer,
        };
        judge(url, status, &text)
    }
}

/// What an answer means: 200 is a yes, all else a no with a reason.
fn judge(url: String, status: StatusCode, text: &[u8]) -> Result<(), FleetLockError> {
    if status == StatusCode::OK {
        return Ok(());
    }
    match serde_json::from_slice::<Refusal>(text) {
        Ok(Refusal { kind, value }) => Err(FleetLockError::Refused { kind, value }),
        Err(_) => Err(FleetLockError::Odd { url, status }),
    }
}

enum Problem {
    Url,
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        Self::Other(Box::new(error))
    }
}

/// Posts a document; gives the status and the answer.
async fn exchange(uri: &Uri, body: &str) -> Result<(StatusCode, Bytes), Problem> {
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(Problem::Url),
    };
    let host = uri.host().ok_or(Problem::Url)?;
    let authority = uri.authority().ok_or(Problem::Url)?.as_str();
    // An IPv6 address stands in brackets in a URL.
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority)
        .header(USER_AGENT, concat!("keelctl/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header("fleet-lock-protocol", "true")
        .body(Full::new(Bytes::from(body.to_owned())))?;
    let stream = TcpStream::connect((name, port)).await?;
    let response = if secure {
        let server = ServerName::try_from(name.to_owned())?;
        send(TlsConnector::from(Arc::new(tls()?)).connect(server, stream).await?, request).await?
    } else {
        send(stream, request).await?
    };
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await.map_err(Problem::Other)?;
    Ok((status, body.to_bytes()))
}

async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<hyper::body::Incoming>, Problem>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// TLS by the authorities that the host trusts.
fn tls() -> Result<ClientConfig, Problem> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_means() {
        let judge = |status: u16, text: &str| {
            judge("u".into(), StatusCode::from_u16(status).unwrap(), text.as_bytes()).map_err(|error| error.to_string())
        };
        assert_eq!(judge(200, ""), Ok(()));
        let full = r#"{"kind":"failed_lock","value":"all 1 slots are locked"}"#;
        assert_eq!(judge(404, full).unwrap_err(), "the FleetLock server refuses: all 1 slots are locked (failed_lock)");
        assert!(judge(502, "<html>").unwrap_err().contains("502 Bad Gateway without a reason"));
        assert!(judge(204, "").is_err(), "only 200 is a yes");
    }

    #[tokio::test]
    async fn who_is_not_there_is_told() {
        let nobody = FleetLock::new("http://127.0.0.1:1/", "default", "id");
        assert!(matches!(nobody.pre_reboot().await, Err(FleetLockError::Unreachable(..))));
        let odd = FleetLock::new("ftp://x", "default", "id");
        assert!(matches!(odd.steady_state().await, Err(FleetLockError::Url(_))));
    }
}
