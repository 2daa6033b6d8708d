//! Owns the Node object and its Lease: registration, status, conditions, heartbeats; draining it; and
//! ending its pods when the host shuts down.
//!
//! ```text
//! watch ──▶ context.node ──▶ sync: facts + health ──▶ status::patch ──▶ API
//!                 ▲            ▲          ▲                │
//!                 │            │          └ eviction's Pressure, shutdown, CRI status every 10 s
//!                 └────────────┼───────────────────────────┘ what the API answered
//!                              └ Control::wake
//! ```
//!
//! Everything is level-triggered: the Node as the API has it is compared with what it should be, and
//! only a difference is sent, or a heartbeat every five minutes. That the node lives is told by its
//! Lease every ten seconds.

pub mod backoff;
pub mod capacity;
mod conditions;
pub mod drain;
mod facts;
mod labels;
mod lease;
mod register;
mod runtime;
mod shutdown;
mod status;
mod sync;
mod watch;

use std::sync::Arc;

use tokio::sync::{Notify, watch as channel};

pub use facts::KUBELET_VERSION;
pub use register::{RegisterError, register};
pub use shutdown::CRITICAL;

use crate::context::Context;
use crate::eviction::Pressure;

/// How others steer the node's tasks.
#[derive(Debug)]
pub struct Control {
    wake: Notify,
    leaving: channel::Sender<bool>,
    shutting_down: channel::Sender<bool>,
}

impl Default for Control {
    fn default() -> Self {
        Self { wake: Notify::new(), leaving: channel::Sender::new(false), shutting_down: channel::Sender::new(false) }
    }
}

impl Control {
    /// Has containerd asked at once whether it is ready: a network was configured, it was restarted.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The node leaves the cluster: it is not registered again when its object is deleted, and its Lease
    /// is not renewed any more.
    pub fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Whether the host is shutting down.
    pub fn shutting_down(&self) -> bool {
        *self.shutting_down.borrow()
    }

    /// Whether pods may start; reason and message otherwise.
    pub fn admits(&self) -> Result<(), (&'static str, String)> {
        let refusal = ("NodeShutdown", "Pod was rejected as the node is shutting down.".to_owned());
        if self.shutting_down() { Err(refusal) } else { Ok(()) }
    }

    fn leaving(&self) -> bool {
        *self.leaving.borrow()
    }
}

/// Keeps the Node and its Lease as they should be, for ever. Call [`register`] before, or leave it to
/// this. Ends only when cancelled.
pub async fn run(context: Arc<Context>, control: Arc<Control>, pressure: channel::Receiver<Pressure>) {
    tokio::join!(
        watch::run(&context),
        lease::run(&context, &control),
        sync::run(&context, &control, pressure),
        shutdown::run(&context, &control),
    );
}
