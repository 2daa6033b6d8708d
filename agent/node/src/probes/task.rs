//! Owns the life of one probe: it waits, tries, tells, until its container goes or the answer is final.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::check::{self, Outcome};
use super::plan::{Check, Kind, Pace};
use super::state::State;
use crate::cri::Cri;
use crate::events::{self, Recorder};
use crate::pods::Registry;

/// How often a try is repeated at once when it could not be made.
const TRIES: usize = 3;

/// What all probes are given.
pub(super) struct Parts {
    pub(super) cri: Cri,
    pub(super) events: Recorder,
    pub(super) pods: Arc<Registry>,
    /// The node's address, which pods with the host's network have.
    pub(super) host: Option<IpAddr>,
}

/// One probe of one container.
pub(super) struct Job {
    pub(super) parts: Arc<Parts>,
    /// The pod's UID.
    pub(super) uid: Arc<str>,
    /// The container's id and name.
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    /// What its events are about.
    pub(super) about: ObjectReference,
    pub(super) kind: Kind,
    pub(super) check: Check,
    pub(super) pace: Pace,
    /// The grace that the probe gives a container it has killed.
    pub(super) grace: Option<i64>,
    /// Whether the pod has the host's network.
    pub(super) on_host: bool,
    /// When the container was started, nanoseconds since the epoch.
    pub(super) started_at: i64,
    /// Whether it ran before the agent did.
    pub(super) adopted: bool,
    pub(super) state: Arc<watch::Sender<State>>,
}

impl Job {
    /// Runs until there is no more to find out; dropped when the container goes.
    pub(super) async fn run(self) {
        if self.kind != Kind::Startup && self.state.subscribe().wait_for(|state| state.started).await.is_err() {
            return;
        }
        let spread = if self.adopted { self.pace.spread(&self.id, self.kind) } else { std::time::Duration::ZERO };
        sleep(self.pace.delay(self.started_at, Timestamp::now().as_nanosecond()) + spread).await;
        let mut tally = super::tally::Tally::default();
        let mut ticks = interval(self.pace.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // Boxed: what a try needs is not kept from one to the next.
            let outcome = Box::pin(self.attempt()).await;
            let Some(success) = self.tell(outcome) else { continue };
            let Some(success) = tally.count(success, self.pace.successes, self.pace.failures) else { continue };
            self.conclude(success);
            if self.kind == Kind::Startup || (self.kind == Kind::Liveness && !success) {
                return;
            }
        }
    }

    async fn attempt(&self) -> Outcome {
        let mut outcome = Outcome::Silent;
        for _ in 0..TRIES {
            let address = if needs_address(&self.check) { self.address() } else { None };
            let Parts { cri, .. } = &*self.parts;
            outcome = check::attempt(&self.check, cri, &self.id, address.as_deref(), self.pace.timeout).await;
            if !matches!(outcome, Outcome::Unknown(_)) {
                break;
            }
        }
        outcome
    }

    /// The pod's address as its worker knows it now.
    fn address(&self) -> Option<String> {
        let known = self.parts.pods.by_uid(&self.uid).and_then(|view| view.ips.first().cloned());
        known.or_else(|| self.parts.host.filter(|_| self.on_host).map(|host| host.to_string()))
    }

    /// Records what a person would want to know; whether the try succeeded, nothing when it says nothing.
    fn tell(&self, outcome: Outcome) -> Option<bool> {
        let probe = self.kind.as_str();
        let (success, reason, message) = match outcome {
            Outcome::Success => return Some(true),
            Outcome::Silent => return None,
            Outcome::Warning(text) => (Some(true), "ProbeWarning", format!("{probe} probe warning: {text}")),
            Outcome::Failure(text) => (Some(false), "Unhealthy", format!("{probe} probe failed: {text}")),
            Outcome::Unknown(text) => {
                (None, "Unhealthy", format!("{probe} probe errored and resulted in unknown state: {text}"))
            }
        };
        self.parts.events.about(self.about.clone(), events::Kind::Warning, reason, message);
        success
    }

    /// Takes a result in that counts, and wakes the pod's worker if it changes anything.
    fn conclude(&self, success: bool) {
        let changed = self.state.send_if_modified(|state| state.conclude(self.kind, success, &self.name, self.grace));
        if changed {
            self.parts.pods.wake(&self.uid);
        }
    }
}

fn needs_address(check: &Check) -> bool {
    !matches!(check, Check::Exec(_) | Check::Impossible(_))
}
