//! Owns eviction: the node ends pods before it runs out of memory, disk or processes, and pods that use
//! more of the disk than they may.
//!
//! ```text
//! observe ──▶ signals ──▶ decide ──▶ Pressure ──▶ the node's conditions, admission
//!                            │
//!                            └ met ──▶ reclaim (dead containers, images) ──▶ rank ──▶ one pod is ended
//! ```
//!
//! The thresholds are those of the settings, by default the kubelet's, and all of them hard. What single
//! pods use is only measured when a threshold is met; what they may use of the disk only for pods that have
//! such a limit.

mod admission;
mod decide;
mod local;
mod message;
mod observe;
mod rank;
pub(crate) mod threshold;
mod usage;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PodStatus;
use tokio::sync::watch;
use tokio::time::Instant;

pub use admission::admits;
pub use decide::{Resource, Signal};
pub use threshold::Thresholds;

use crate::context::Context;
use crate::events::Kind;
use crate::pods::PodView;
use crate::spec::is_critical;
use decide::{Met, Turns};
use observe::Observer;

/// How often is looked.
const PERIOD: Duration = Duration::from_secs(10);
/// How long is waited for an evicted pod to be gone.
const CLEANUP: Duration = Duration::from_secs(30);
const REASON: &str = "Evicted";
/// Seconds for a pod that must go at once, as the kubelet has it.
const GRACE: i64 = 1;

/// What the node is short of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// Disk: room or inodes.
    pub disk: bool,
    /// Processes.
    pub pid: bool,
}

impl Pressure {
    /// Whether it is short of anything.
    pub fn any(self) -> bool {
        self.memory || self.disk || self.pid
    }
}

/// Frees disk without ending pods: removes what is left of pods that are over, and images that nobody uses.
pub type Reclaim = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Looks after the node for ever. `pressure` is told what it is short of.
pub async fn run(context: Arc<Context>, pressure: watch::Sender<Pressure>, reclaim: Reclaim) {
    let thresholds = Thresholds::new(&context.settings.eviction);
    let observer = Observer::new(&context);
    let mut keeper = Keeper { observer, thresholds, turns: Turns::default(), stuck: None, context };
    let mut local = local::Watch::default();
    loop {
        let evicted = match keeper.look(&pressure, &reclaim).await {
            Some(evicted) => vec![evicted],
            None => local.evict(&keeper.context).await,
        };
        if evicted.is_empty() {
            tokio::time::sleep(PERIOD).await;
        } else {
            gone(&keeper.context, &evicted).await;
        }
    }
}

struct Keeper {
    context: Arc<Context>,
    observer: Observer,
    thresholds: Thresholds,
    turns: Turns,
    /// What the node is short of without a pod to end for it, once that was said.
    stuck: Option<Resource>,
}

impl Keeper {
    /// Looks once. Gives the UID of a pod that was ended.
    async fn look(&mut self, pressure: &watch::Sender<Pressure>, reclaim: &Reclaim) -> Option<String> {
        let signals = self.observer.observe(&self.context).await;
        let met = decide::met(&signals, &self.thresholds);
        let now = self.turns.turn(&met, Instant::now());
        pressure.send_if_modified(|shown| std::mem::replace(shown, now) != now);
        let Some(first) = met.first().copied() else {
            self.stuck = None;
            return None;
        };
        let starved = first.signal.resource();
        if let Some(node) = self.context.node.borrow().as_deref() {
            let message = format!("Attempting to reclaim {}", starved.name());
            self.context.events.node(node, Kind::Warning, "EvictionThresholdMet", message);
        }
        if matches!(starved, Resource::Disk | Resource::Inodes) {
            reclaim().await;
            if decide::met(&self.observer.observe(&self.context).await, &self.thresholds).is_empty() {
                self.stuck = None;
                return None;
            }
        }
        self.end_one(first).await
    }

    async fn end_one(&mut self, met: Met) -> Option<String> {
        let (context, resource) = (&self.context, met.signal.resource());
        let pods: Vec<_> = context.pods.list().into_iter().filter(|pod| is_active(pod)).collect();
        let used = usage::measure(context, &pods, resource, self.observer.separate_images(met.signal)).await;
        let victim = rank::rank(&pods, &used, resource).into_iter().find(|pod| !is_critical(&pod.pod));
        let Some(victim) = victim else {
            if self.stuck.replace(resource) != Some(resource) {
                tracing::error!(resource = resource.name(), "short of it, and there is no pod that may be ended");
            }
            return None;
        };
        self.stuck = None;
        let message = message::low(&victim.pod, met, used.get(victim.uid()));
        end(context, victim, &message);
        Some(victim.uid().to_owned())
    }
}

fn end(context: &Context, pod: &PodView, message: &str) {
    context.events.pod(&pod.pod, None, Kind::Warning, REASON, message.to_owned());
    context.pods.evict(pod.uid(), REASON, message, GRACE);
}

async fn gone(context: &Context, evicted: &[String]) {
    let deadline = Instant::now() + CLEANUP;
    let there = |uid: &String| context.pods.by_uid(uid).is_some_and(|pod| pod.sandbox.is_some());
    while Instant::now() < deadline && evicted.iter().any(there) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Whether a pod uses anything that ending it would free.
fn is_active(pod: &PodView) -> bool {
    !pod.is_over() && !pod.terminating
}

/// Whether a pod was ended by eviction, and is over.
pub fn evicted(status: &PodStatus) -> bool {
    status.phase.as_deref() == Some("Failed") && status.reason.as_deref() == Some(REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_failed_for_another_reason_was_not_evicted() {
        let status = |phase: &str, reason: &str| PodStatus {
            phase: Some(phase.to_owned()),
            reason: Some(reason.to_owned()),
            ..PodStatus::default()
        };
        assert!(evicted(&status("Failed", "Evicted")));
        assert!(!evicted(&status("Failed", "DeadlineExceeded")) && !evicted(&status("Running", "Evicted")));
        assert!(!evicted(&PodStatus::default()));
    }
}
