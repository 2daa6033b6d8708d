//! Owns the terminal that keelctl runs on, and what passes between it and a container.

pub mod attach;
pub mod escape;
pub mod progress;
pub mod raw;
pub mod signals;
pub mod size;
