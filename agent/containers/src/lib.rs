//! Containers of the host: what people know from Docker, over the host's containerd.
//!
//! `keeld containers` is a daemon of its own beside the one that manages the operating system: it
//! needs other privileges, and neither takes the other down. It serves the Docker Engine API on a
//! Unix socket, so `keelctl`, `docker` and everything that speaks that API are clients of it.
//!
//! ```text
//! keelctl, docker --HTTP--> http -> engine -+-> images   pull, push, unpack   --gRPC--> containerd
//!                                           +-> streams  logs, attach, exec   --FIFOs-> shim
//!                                           '-> network  CNI, ports, links    --exec--> CNI plugins
//! ```
//!
//! Containers outlive this daemon: their shims hold them, their output waits in FIFOs, and a start
//! of the daemon takes up what it finds ([`engine`]).

pub mod archive;
pub mod containerd;
mod daemon;
pub mod declared;
pub mod engine;
pub mod error;
pub mod events;
pub mod exec;
pub mod filters;
mod handover;
pub mod health;
pub mod http;
pub mod images;
pub mod network;
mod options;
pub mod paths;
pub mod streams;
pub mod words;

pub use daemon::{App, run};
pub use error::{Error, Result};
pub use options::Options;
