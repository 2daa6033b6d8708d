//! The master's keys and certificates: which there are ([`identity`]), who signs them ([`authority`]),
//! and reading what is there ([`read`]).

pub mod authority;
pub mod identity;
pub mod read;

/// PEM of a certificate and of its key.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}
