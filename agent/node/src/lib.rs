//! The Kubernetes node of a host: the agent in the kubelet's place, over containerd's CRI.
//!
//! `keeld node` is a daemon of its own beside the one that manages the operating system and the one
//! that runs containers by hand: it needs other privileges, and none takes another down.
//!
//! ```text
//!            watch                    desired                     CRI
//! API server ──────▶ pods::sources ──────────▶ pods::worker ────────────▶ containerd
//!     ▲                                 ▲      (one a pod UID)              │
//!     │ patch                      wake │          │ view                   │ events, relist
//!     └──────────── pods::status ◀──────┼──────────┼────────────────────────┘
//!                                       │          ▼
//!                    probes, hooks ─────┘      pods::Registry ──▶ server, stats, eviction, network
//! ```
//!
//! One task owns each pod; what it does next is a pure function of what is wanted and what containerd
//! says. Events only wake it. Status has one writer and only differences are sent. A restart of this
//! daemon touches no container: everything it must know is in the API, in containerd (labels and
//! annotations) or below its root folder.

pub mod alone;
pub mod cgroups;
pub mod cli;
pub mod config;
pub mod context;
pub mod cri;
pub mod disk;
pub mod events;
pub mod eviction;
pub mod hooks;
pub mod images;
pub mod join;
pub mod leave;
pub mod logs;
pub mod network;
pub mod node;
pub mod objects;
pub mod options;
pub mod pods;
pub mod probes;
pub mod reboot;
pub mod report;
pub mod run;
pub mod server;
pub mod spec;
pub mod stats;
pub mod supervision;
mod systemd;
pub mod tls;
pub mod volumes;

pub use context::Context;
