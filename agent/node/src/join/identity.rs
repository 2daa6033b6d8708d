//! Owns [`Identity`]: the certificates in use. Each connection asks it for the one of the moment.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Validity;
use super::pair::Pair;

#[derive(Debug)]
struct Held {
    client: Pair,
    serving: Pair,
    /// Whether the cluster signed the serving certificate.
    signed: bool,
    /// How often the client's certificate was changed.
    generation: u64,
}

/// The certificates in use, for clients and servers alike.
#[derive(Debug)]
pub struct Identity {
    held: RwLock<Held>,
}

impl Identity {
    pub(super) fn new(client: Pair, serving: Pair, signed: bool) -> Self {
        Self { held: RwLock::new(Held { client, serving, signed, generation: 0 }) }
    }

    /// How long the client's certificate holds.
    pub fn client_validity(&self) -> Validity {
        self.read().client.validity
    }

    /// How long the serving certificate holds; `None` while the cluster has not signed one and the
    /// node's own is shown.
    pub fn serving_validity(&self) -> Option<Validity> {
        let held = self.read();
        held.signed.then_some(held.serving.validity)
    }

    /// Changes with every renewal of the client's certificate: connections from before belong to one
    /// that will expire.
    pub fn generation(&self) -> u64 {
        self.read().generation
    }

    pub(super) fn client(&self) -> Pair {
        self.read().client.clone()
    }

    pub(super) fn serving(&self) -> Option<Pair> {
        let held = self.read();
        held.signed.then(|| held.serving.clone())
    }

    pub(super) fn renew_client(&self, pair: Pair) {
        let mut held = self.write();
        held.client = pair;
        held.generation += 1;
    }

    pub(super) fn renew_serving(&self, pair: Pair) {
        let mut held = self.write();
        held.serving = pair;
        held.signed = true;
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.read().client.certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.read().serving.certified.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::join::serving::self_signed;

    #[test]
    fn who_connects_next_gets_the_renewed_one() {
        let pair = |name: &str| self_signed(name, &[]).unwrap();
        let identity = Identity::new(pair("one"), pair("one"), false);
        let shown = || ResolvesClientCert::resolve(&identity, &[], &[]).unwrap().end_entity_cert().unwrap().to_vec();
        let (before, generation) = (shown(), identity.generation());
        assert_eq!(identity.serving_validity(), None);
        identity.renew_serving(pair("one"));
        assert_eq!((shown(), identity.generation()), (before.clone(), generation));
        assert!(identity.serving_validity().is_some());
        identity.renew_client(pair("one"));
        assert_ne!(shown(), before);
        assert_ne!(identity.generation(), generation);
    }
}
