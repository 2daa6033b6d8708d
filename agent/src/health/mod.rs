//! Whether this host is well, and what follows from it after a boot.
//!
//! ```text
//! checks ──> Report ──> judge ──┬─> Healthy: this version is one to go back to
//!  (keelctl health)             ├─> Wait: it may become well yet
//!                               ├─> RollBack: a new version is given up for the one before
//!                               └─> Report: nothing is done, and why
//! ```
//!
//! - [`report`]: what checks found
//! - [`record`]: which versions were healthy, and which were given up and why
//! - [`judge`]: the judgement, purely

pub mod judge;
pub mod record;
pub mod report;
