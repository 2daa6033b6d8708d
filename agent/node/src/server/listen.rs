//! Owns connections: the port, TLS, HTTP/1.1 with upgrades. (Upgrades of exec are HTTP/1.1's alone.)

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::ServerError;
use super::reply::Response;
use super::user::User;

/// How long a client may take to say hello.
const HELLO: Duration = Duration::from_secs(10);
/// How long a connection may be idle between two requests.
const IDLE: Duration = Duration::from_secs(90);
/// How much of a request's head is taken: commands are in its query.
const HEAD: usize = 256 << 10;

/// TLS with the certificate of the moment. A client may show a certificate; if it does, `authority` must have
/// signed it.
pub(super) fn tls(
    certificate: Arc<dyn ResolvesServerCert>,
    authority: &[CertificateDer<'static>],
) -> Result<TlsAcceptor, ServerError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in authority {
        roots.add(authority.clone()).map_err(ServerError::Certificate)?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(ServerError::Authority)?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(ServerError::Tls)?.with_client_cert_verifier(clients);
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Few clients, and they keep their connections: what would be remembered is not worth its memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Listens on all addresses; on those of IPv4 where the host has no IPv6.
pub(super) fn bind(port: u16) -> io::Result<TcpListener> {
    let listen = |address: SocketAddr| {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        // Inherited by each connection: a client that is gone is noticed while nothing is said.
        nix::sys::socket::setsockopt(&listener, nix::sys::socket::sockopt::KeepAlive, &true)?;
        TcpListener::from_std(listener)
    };
    listen((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|_| listen((Ipv4Addr::UNSPECIFIED, port).into()))
}

/// Takes connections and has each request answered, for good.
pub(super) async fn serve<F>(
    listener: TcpListener,
    tls: TlsAcceptor,
    answer: impl Fn(Option<User>, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = Response> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (tls, answer) = (tls.clone(), answer.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, tls, answer).await {
                        tracing::debug!(%peer, %error, "a connection ended");
                    }
                });
            }
            // Out of descriptors, most likely: some will be given back.
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn connection<F>(
    stream: TcpStream,
    tls: TlsAcceptor,
    answer: impl Fn(Option<User>, Request<Incoming>) -> F,
) -> io::Result<()>
where
    F: Future<Output = Response>,
{
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HELLO, tls.accept(stream)).await??;
    // Who showed a certificate is who it names; it was checked.
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let user = shown.and_then(|certificate| User::of_certificate(certificate));
    let service = service_fn(|request| {
        let answer = answer(user.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(HEAD);
    http.serve_connection(TokioIo::new(stream), service).with_upgrades().await.map_err(io::Error::other)
}
