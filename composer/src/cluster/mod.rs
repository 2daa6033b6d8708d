//! Clusters of virtual machines on this machine: a master and its nodes, all of one image, each told by a seed of
//! its own what it is.
//!
//! ```text
//! options -> plan -> documents ─> seeds ─┐
//!            authority ────┘             ├─> power (QEMU, in the background) -> ready
//!            image ─> overlays ──────────┘
//! a commit -> roll: one machine after another, by what roll::step makes of what was seen of it
//! ```
//!
//! Everything of a cluster is in its [`folder`], so that every verb, and one that was killed, finds what there is.
//! What decides ([`plan`], [`documents`], [`stage`], [`roll::step`], [`observed`], [`nodes`]) is pure.

pub mod api;
pub mod authority;
pub mod board;
pub mod documents;
pub mod folder;
pub mod nodes;
pub mod observed;
pub mod plan;
pub mod power;
pub mod ready;
pub mod remote;
pub mod roll;
pub mod stage;
pub mod state;
pub mod status;
pub mod stop;
