//! Owns the [`kube::Client`] of the node. It lives as long as the process: when the certificate was
//! renewed, the next request opens connections with the new one, and the old ones close once nothing
//! is under way on them.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tower::util::option_layer;
use tower::{BoxError, Service};

use super::pair::Pair;
use super::transport::{Connector, Slow, tls};
use super::{Credentials, Identity, JoinError, kubeconfig};

/// How long the API server may take for the head of an answer: it gives up after a minute itself, and
/// a watch begins at once. Bodies may take as long as they like.
const ANSWER: Duration = Duration::from_secs(75);
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// How many of them.
const IDLE_COUNT: usize = 4;

/// The client of a node that has joined.
pub fn client(credentials: &Credentials) -> Result<kube::Client, JoinError> {
    let identity = credentials.identity.clone();
    let tls = tls(&credentials.authority, Some(identity.clone()))?;
    let pool = Pool::new(tls, server_name(credentials.server_name.as_deref())?, Some(identity));
    build(&config(&credentials.server)?, pool)
}

/// The client of one who has not joined yet: with what `config` says, and `pair` for a certificate.
pub fn bootstrapper(
    config: &kube::Config,
    authority: &[CertificateDer<'static>],
    pair: Option<Pair>,
) -> Result<kube::Client, JoinError> {
    let resolver = pair.map(|pair| {
        let resolver = rustls::sign::SingleCertAndKey::from(pair.certified);
        Arc::new(resolver) as Arc<dyn rustls::client::ResolvesClientCert>
    });
    let pool = Pool::new(tls(authority, resolver)?, server_name(config.tls_server_name.as_deref())?, None);
    build(config, pool)
}

/// The client of whoever a kubeconfig belongs to.
pub async fn client_of_kubeconfig(path: &Path) -> Result<kube::Client, JoinError> {
    let found = kubeconfig::read(path).await?;
    bootstrapper(&found.config, &found.authority, found.pair)
}

/// A configuration of kube's for a server and nothing else.
pub fn config(server: &str) -> Result<kube::Config, JoinError> {
    let uri: Uri = server.parse().map_err(|_| JoinError::Certificate {
        what: format!("the server's address {server}"),
        why: "it is none".to_owned(),
    })?;
    Ok(kube::Config::new(uri))
}

fn server_name(name: Option<&str>) -> Result<Option<ServerName<'static>>, JoinError> {
    let parsed = name.map(|name| ServerName::try_from(name.to_owned())).transpose();
    parsed.map_err(|error| JoinError::Certificate { what: "the server's name".to_owned(), why: error.to_string() })
}

fn build(config: &kube::Config, pool: Pool) -> Result<kube::Client, JoinError> {
    let wrong = |error: kube::Error| JoinError::Api { what: "be asked", message: error.to_string() };
    let mut config = config.clone();
    if let Ok(agent) = concat!("keeld-node/", env!("CARGO_PKG_VERSION")).parse() {
        config.headers.push((hyper::header::USER_AGENT, agent));
    }
    let client = ClientBuilder::new(pool, "default")
        .with_layer(&config.extra_headers_layer().map_err(wrong)?)
        .with_layer(&option_layer(config.auth_layer().map_err(wrong)?))
        .with_layer(&config.base_uri_layer())
        .build();
    Ok(client)
}

/// Connections to the API server.
#[derive(Clone)]
struct Pool(Arc<Shared>);

struct Shared {
    tls: ClientConfig,
    server_name: Option<ServerName<'static>>,
    identity: Option<Arc<Identity>>,
    /// With the generation of the identity that its connections have.
    http: RwLock<(u64, Http<Connector, Body>)>,
}

impl Pool {
    fn new(tls: ClientConfig, server_name: Option<ServerName<'static>>, identity: Option<Arc<Identity>>) -> Self {
        let http = RwLock::new((generation(identity.as_deref()), http(&tls, server_name.clone())));
        Self(Arc::new(Shared { tls, server_name, identity, http }))
    }

    /// The connections of today's certificate.
    fn current(&self) -> Http<Connector, Body> {
        let shared = &self.0;
        let wanted = generation(shared.identity.as_deref());
        let held = shared.http.read().unwrap_or_else(PoisonError::into_inner);
        if held.0 == wanted {
            return held.1.clone();
        }
        drop(held);
        let mut held = shared.http.write().unwrap_or_else(PoisonError::into_inner);
        if held.0 != wanted {
            *held = (wanted, http(&shared.tls, shared.server_name.clone()));
        }
        held.1.clone()
    }
}

fn generation(identity: Option<&Identity>) -> u64 {
    identity.map(Identity::generation).unwrap_or_default()
}

fn http(tls: &ClientConfig, server_name: Option<ServerName<'static>>) -> Http<Connector, Body> {
    Http::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_COUNT)
        .build(Connector::new(tls.clone(), server_name))
}

impl Service<Request<Body>> for Pool {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.current().request(request);
        Box::pin(async { Ok(tokio::time::timeout(ANSWER, answer).await.map_err(|_| Slow(ANSWER))??) })
    }
}
