//! Owns how connections to the API server are made: TCP that notices a dead peer, TLS by the cluster's
//! authority or, to look at a server that is not known yet, by nobody's; each within a time limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tower::{BoxError, Service};

use super::JoinError;
use crate::tls::{self, Anybody};

/// How long a connection may take to be there, TLS and all.
pub const CONNECT: Duration = Duration::from_secs(10);
/// After how long without a word the peer is asked whether it lives, and how often: a connection to a
/// machine without power ends after a minute.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

/// There was no answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
pub struct Slow(pub Duration);

/// Makes connections.
#[derive(Clone)]
pub struct Connector(HttpsConnector<HttpConnector>);

impl Connector {
    /// With what `tls` says; `server_name` is what the certificate is for, where the address is not.
    pub fn new(tls: ClientConfig, server_name: Option<ServerName<'static>>) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let (idle, interval, probes) = KEEPALIVE;
        tcp.set_keepalive(Some(idle));
        tcp.set_keepalive_interval(Some(interval));
        tcp.set_keepalive_retries(Some(probes));
        tcp.set_tcp_user_timeout(Some(idle + interval * probes));
        let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_only();
        if let Some(name) = server_name {
            builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
        }
        Self(builder.enable_http1().wrap_connector(tcp))
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async { tokio::time::timeout(CONNECT, connecting).await.map_err(|_| Slow(CONNECT))? })
    }
}

/// TLS to servers of the authority, shown a certificate where there is one to show.
pub fn tls(
    authority: &[CertificateDer<'static>],
    certificates: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, JoinError> {
    let wrong = |why: rustls::Error| JoinError::Certificate {
        what: "the certificate of the cluster's authority".to_owned(),
        why: why.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots.add(certificate.clone()).map_err(wrong)?;
    }
    let builder = ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(wrong)?.with_root_certificates(roots);
    let mut config = match certificates {
        Some(certificates) => builder.with_client_cert_resolver(certificates),
        None => builder.with_no_client_auth(),
    };
    // A resumed session would go on with the certificate that it began with.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// TLS to any server: what it says must be proven otherwise.
pub fn tls_to_anybody() -> Result<ClientConfig, JoinError> {
    let mut config = tls(&[], None)?;
    config.dangerous().set_certificate_verifier(Arc::new(Anybody::default()));
    Ok(config)
}
