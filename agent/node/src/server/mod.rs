//! Owns the kubelet API on :10250: who may ask, what is answered.
//!
//! ```text
//! TLS (certificate of the moment, client certificates of the cluster)
//!   ▶ authn: certificate or TokenReview ▶ authz: SubjectAccessReview on nodes/… ▶ route
//!       ▶ pods, stats, metrics, logs          answered here
//!       ▶ exec, attach, port forwarding       containerd is asked where, the upgrade is replayed, bytes are spliced
//! ```

mod access;
mod address;
mod authn;
mod authz;
mod cache;
mod files;
mod handler;
mod listen;
mod logs;
mod pods;
mod reply;
mod route;
mod splice;
mod streams;
mod user;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::ResolvesServerCert;

use crate::context::Context;

/// Why the kubelet API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port is not to be had.
    #[error("cannot listen on port {port}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The cluster's authority cannot be used to check clients' certificates.
    #[error("cannot check certificates of clients by the cluster's authority")]
    Authority(#[source] rustls::server::VerifierBuilderError),
    /// A certificate of the authority is none.
    #[error("the cluster's authority has a certificate that cannot be read")]
    Certificate(#[source] rustls::Error),
    /// No version of TLS is common with the library.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Serves the kubelet API on the settings' port, on all addresses, until the returned future is dropped; it
/// ends by itself only when it cannot begin. `certificate` is asked at each connection, so a renewed one is
/// shown at once; `authority` is who signs certificates of clients.
pub async fn run(
    context: Arc<Context>,
    certificate: Arc<dyn ResolvesServerCert>,
    authority: &[CertificateDer<'static>],
) -> Result<(), ServerError> {
    let tls = listen::tls(certificate, authority)?;
    let port = context.settings.port;
    let listener = listen::bind(port).map_err(|source| ServerError::Listen { port, source })?;
    let handler = Arc::new(handler::Handler::new(context));
    tracing::info!(port, "serving the kubelet API");
    listen::serve(listener, tls, move |user, request| {
        let handler = handler.clone();
        async move { handler.answer(user, request).await }
    })
    .await;
    Ok(())
}
