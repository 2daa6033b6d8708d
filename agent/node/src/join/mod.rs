//! Owns how a machine becomes a node and stays one: discovery, bootstrap, certificates and their renewal.
//!
//! ```text
//! server, token, hash ──discovery──▶ authority ──┐
//! kubeconfig ────────────────────────────────────┴─▶ csr ──▶ taken? ──▶ store ──▶ Identity ◀── renew
//!                                                                        │           ▲
//!                                                              a restart ┘           └─ client, server
//! ```
//!
//! [`Identity`] holds the certificates in use; whoever opens or takes a connection asks it, so that a
//! renewed one needs no restart.

mod bootstrap;
mod classify;
mod client;
mod csr;
mod discovery;
mod error;
mod identity;
mod jws;
mod kubeconfig;
mod pair;
mod pki;
mod progress;
mod renew;
mod serving;
mod store;
mod taken;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::config::Settings;

pub use bootstrap::{check, credentials};
pub use client::{client, client_of_kubeconfig};
pub use error::{JoinError, Kind, whole};
pub use identity::Identity;
pub use pair::Validity;
pub use progress::{Report, Step};
pub use renew::run as run_renewal;
pub use store::Store;

/// How a node speaks to its cluster, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The API server, `https://HOST:PORT`.
    pub server: String,
    /// The name in the server's certificate, where it is not that of [`Credentials::server`].
    pub server_name: Option<String>,
    /// The authority's certificates: the API server's own is from it, and so are those of who asks the
    /// kubelet API.
    pub authority: Vec<CertificateDer<'static>>,
    /// The node's certificates.
    pub identity: Arc<Identity>,
}

/// What a server of the kubelet API needs of TLS.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Gives the certificate to show; a renewed one by itself.
    pub resolver: Arc<dyn rustls::server::ResolvesServerCert>,
    /// Who signs certificates of clients.
    pub client_authority: Vec<CertificateDer<'static>>,
}

/// What the server of the kubelet API needs.
pub fn server_config(credentials: &Credentials) -> ServerConfig {
    ServerConfig { resolver: credentials.identity.clone(), client_authority: credentials.authority.clone() }
}

/// As [`credentials`], again and again until there are some: the master may not be there yet, or the
/// token not known yet. `told` hears of each failure that is not the one before.
pub async fn credentials_patiently(settings: &Settings, told: impl Fn(&JoinError)) -> Credentials {
    let mut wait = Duration::from_secs(2);
    let mut last = String::new();
    loop {
        let report = |step: &Step| tracing::info!("{step}");
        match credentials(settings, &report, None).await {
            Ok(credentials) => return credentials,
            Err(error) => {
                let text = error.whole();
                if text != last {
                    tracing::error!("cannot join: {text}");
                    told(&error);
                    last = text;
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(60));
    }
}
