//! Containers by declaration: what files say should run, and the way there.
//!
//! ```text
//! containers.d/*.toml -> format -> model::Declared -+
//!                                                   +-> plan (pure) -> actions -> Engine
//! Engine -> Observed -------------------------------+
//! ```

pub mod format;
mod hash;
pub mod load;
pub mod model;
mod order;
pub mod plan;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod testing;
pub mod update;
mod waits;
pub mod world;
