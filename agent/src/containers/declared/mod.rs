//! Containers by declaration: what files say should run, and the way there.
//!
//! ```text
//! containers.d/*.toml -> format -> model::Declared -+
//!                                                   +-> plan (pure) -> actions -> Engine
//! Engine -> Observed -------------------------------+
//! ```

pub mod format;
mod hash;
pub mod model;
