//! Owns TLS to containers: whatever certificate they show is taken, as the kubelet does, for a pod's
//! certificate is between the pod and its clients.

use std::sync::{Arc, LazyLock};

use rustls::Error;
use rustls::client::{ClientConfig, Resumption};

use crate::tls::{Anybody, provider};

static CONFIG: LazyLock<Result<Arc<ClientConfig>, Error>> = LazyLock::new(|| {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody::default()));
    let mut config = builder.with_no_client_auth();
    // Nobody is talked to twice on one session.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
});

/// The one configuration of all probes and hooks.
pub(super) fn config() -> Result<Arc<ClientConfig>, Error> {
    CONFIG.clone()
}
