//! Owns the documents that cross D-Bus and that `keelctl --json` prints: what is deployed
//! ([`status`]), what is asked for ([`request`]) and what is being done ([`transaction`]).
//!
//! They travel as JSON text, so that a script sees one shape on the bus and on standard output.

pub mod request;
pub mod status;
pub mod time;
pub mod transaction;

pub use request::Request;
pub use status::{Deployment, HostStatus, Role, Signature, SignatureState};
pub use transaction::{Outcome, Phase, Progress, State, Transaction, Update, UpdateState};
