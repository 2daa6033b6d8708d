//! Owns what a node asks of its cluster before it reboots, and gives back after: one of few slots, so that
//! not too many nodes are away at once ([`lock`]), that no version is tried which another node gave up
//! ([`given_up`]), and that no pods come to it meanwhile ([`cordon`]).

pub mod cordon;
pub mod given_up;
pub mod lock;

/// How often a write is tried that others came before.
const TRIES: usize = 10;

/// The API server's own words, where it said any.
pub(crate) fn words(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    }
}
