//! The host agent: `keeld`, which alone changes the deployments of a host, and `keelctl`, its
//! client.
//!
//! ```text
//! keelctl ── D-Bus ──> api ──> daemon (one writer) ──> worker thread ──> deploy ──> libostree
//!    ^                  |            |                       |
//!    '── signals <──────'            '── history             '── progress, outcome
//! ```
//!
//! - [`model`]: the documents that cross D-Bus and that `--json` prints
//! - [`deploy`]: observing, deciding about and changing deployments through libostree
//! - [`history`]: what was deployed and booted when, and whether a boot did what it should
//! - [`health`]: whether the host is well, and what follows from it after a boot
//! - [`update`]: when the host goes over to a new version by itself
//! - [`api`]: the D-Bus interface, its client, and who may do what
//! - [`daemon`]: keeld's main loop, worker thread, supervision and privileges
//! - [`cli`]: keelctl, one module a verb

pub mod api;
pub mod cli;
pub mod daemon;
pub mod deploy;
pub mod health;
pub mod history;
mod kept;
pub mod model;
pub mod update;
