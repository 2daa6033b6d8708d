//! Containers by declaration: what files say should run, and the way there.
//!
//! ```text
//! containers.d/*.toml -> format -> model::Declared -+
//!                                                   +-> plan (pure) -> actions -> Engine
//! Engine -> Observed -------------------------------+
//! ```

mod act;
mod follow;
pub mod format;
mod groups;
mod hash;
mod keep;
pub mod load;
pub mod model;
mod observe;
mod order;
pub mod plan;
#[cfg(test)]
mod plan_tests;
mod reconciler;
pub mod report;
pub mod step;
#[cfg(test)]
mod testing;
pub mod update;
mod waits;
mod watch;
pub mod world;

pub use reconciler::Reconciler;
