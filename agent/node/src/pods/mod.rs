//! Owns the pods of this node: where they come from, the task that owns each, what it decides, what
//! is told to the API.

mod registry;
pub mod static_pods;

pub use registry::{ContainerKind, ContainerView, PodView, Registry};
