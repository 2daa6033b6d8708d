//! Owns HTTP to containers, for probes and hooks: one request a connection, no certificate verified,
//! redirects followed on the same host only.

mod client;
mod request;
mod tls;

pub(crate) use client::{Answer, Failed, chain, connect, fetch};
pub(crate) use request::{Get, Url, authority};
