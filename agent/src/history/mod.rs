//! What happened on this host: a log of JSON lines that keeld appends to ([`log`]), and the
//! judgement over each boot ([`boot`]).

pub mod boot;
pub mod log;

pub use boot::{BootVerdict, Observed};
pub use log::{Entry, Event, Log};
