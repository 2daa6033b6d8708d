//! Rolling a version over a cluster, one machine after another: [`step`] decides from what was seen what to do next,
//! [`drive`] looks and does it.

pub mod drive;
pub mod step;
