//! The deployments of this host. [`observe`] turns what libostree holds into plain types, the
//! pure modules [`decide`], [`kargs`] and [`order`] say what should happen, and the thin ones
//! ([`pull`], [`stage`], [`tries`], [`space`], [`remote`]) and one module a verb ([`verb`]) make it happen.
//!
//! Everything that touches libostree goes through one [`host::Host`], which one thread owns.

pub mod context;
pub mod decide;
pub mod error;
pub mod host;
pub mod kargs;
pub mod keyring;
pub mod observe;
pub mod order;
pub mod pull;
pub mod refusal;
pub mod remote;
pub mod signature;
pub mod space;
pub mod stage;
pub mod tries;
pub mod verb;

pub use context::Context;
pub use error::DeployError;
pub use host::{Host, HostOptions};
