//! Owns the pods of this node: where they come from, the task that owns each, what it decides, what
//! is told to the API.
//!
//! ```text
//! sources ──▶ manager ──▶ worker ──observe──▶ decide ──▶ act
//!   (watch)    (tasks)      │                              │
//!                           └──▶ status ──▶ reporter       └──▶ containerd
//! ```

mod advance;
mod backoff;
mod conditions;
mod decide;
mod end;
mod ghosts;
mod kill;
mod learn;
mod manager;
mod observe;
mod orphans;
mod reclaim;
mod registry;
mod relist;
mod reporter;
mod resize;
mod shape;
mod sources;
mod start;
pub mod static_pods;
mod status;
mod tell;
mod tidy;
mod worker;

pub use manager::{Parts, run};
pub use reclaim::reclaim;

pub use registry::{ContainerKind, ContainerView, PodView, Registry};
pub use reporter::{Reporter, Target};
pub use shape::{Member, Shape};
