//! Owns [`Worker`], the one owner of a pod: it looks, decides, acts and says how the pod is, again and
//! again; everything else only wakes it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::sync::{Notify, watch};

use super::backoff::Backoff;
use super::decide::Known;
use super::manager::Parts;
use super::observe::{Observed, Observer};
use super::{PodView, Shape};
use crate::cri::v1;
use crate::probes::Findings;
use crate::spec;

/// What is wanted of a worker.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The pod.
    pub pod: Arc<Pod>,
    /// It is not in the API, or in its folder, any more.
    pub gone: bool,
}

/// Why a pod is ended by this node.
#[derive(Debug, Clone)]
pub struct End {
    /// Reason and message of its status.
    pub why: (String, String),
    /// Seconds.
    pub grace: i64,
}

/// What runs beside the worker's own task.
#[derive(Debug, Default)]
pub struct Background {
    /// Containers whose `postStart` hook has not ended.
    pub starting: Vec<String>,
    /// Containers being stopped, and by when each of them has to be gone.
    pub stopping: HashMap<String, Instant>,
    /// Containers that must be started again, and why.
    pub replace: HashMap<String, String>,
    /// The node ends the pod.
    pub end: Option<End>,
}

/// What is remembered between two looks.
#[derive(Default)]
pub struct Memory {
    /// Waits of containers that end again and again.
    pub backoff: Backoff,
    /// Why containers wait, by name.
    pub waiting: BTreeMap<String, (String, String)>,
    /// When something is tried again that failed, by container; the sandbox has no name.
    pub retries: HashMap<String, Instant>,
    /// The limits of running containers, by id.
    pub applied: HashMap<String, ResourceRequirements>,
    /// Conditions about a resize.
    pub resize: Vec<(&'static str, &'static str, String)>,
    /// Termination messages by container id.
    pub messages: HashMap<String, String>,
    /// What the sandbox in use was made with, and its number.
    pub config: Option<(u32, v1::PodSandboxConfig)>,
    /// Volumes are made, and were last looked at.
    pub volumes: Option<Instant>,
    /// How often making them failed since it last did not.
    pub volume_failures: u32,
    /// They show something of the pod that changed.
    pub stale: bool,
    /// When the end began.
    pub ending: Option<Instant>,
    /// All of a pod that is over is taken down.
    pub cleared: bool,
    /// Nothing of an evicted pod is left in containerd either.
    pub emptied: bool,
}

/// What a look came to.
pub enum Next {
    /// Something was done: look again.
    Again,
    /// Nothing to do before that, if nothing else happens.
    After(Option<Duration>),
    /// All of the pod is gone.
    Done,
}

/// The one owner of a pod.
pub struct Worker {
    pub(super) parts: Arc<Parts>,
    pub(super) uid: String,
    pub(super) desired: watch::Receiver<Desired>,
    pub(super) wake: Arc<Notify>,
    /// The node ends the pod.
    ended: Arc<Notify>,
    pub(super) pod: Arc<Pod>,
    pub(super) gone: bool,
    pub(super) shape: Shape,
    pub(super) observer: Observer,
    pub(super) background: Arc<Mutex<Background>>,
    pub(super) memory: Memory,
    /// What was last said.
    pub(super) status: PodStatus,
    /// The pod in the API, for a static pod its mirror, that was last compared with that.
    pub(super) shown: Option<Arc<Pod>>,
    /// The node itself failed the pod: reason and message.
    pub(super) failed: Option<(String, String)>,
    /// A pod of a file.
    pub(super) is_static: bool,
}

impl Worker {
    /// A worker for the pod in `desired`.
    pub fn new(parts: Arc<Parts>, mut desired: watch::Receiver<Desired>, wake: Arc<Notify>, is_static: bool) -> Self {
        let Desired { pod, gone } = desired.borrow_and_update().clone();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        let status = pod.status.clone().unwrap_or_default();
        Self {
            observer: Observer::new(parts.context.cri.clone(), &uid, host_network),
            shape: Shape::of(&pod),
            background: Arc::default(),
            memory: Memory::default(),
            failed: None,
            is_static,
            parts,
            uid,
            desired,
            wake,
            ended: Arc::default(),
            pod,
            gone,
            status,
            shown: None,
        }
    }

    /// Works until all of the pod is gone.
    pub async fn run(mut self) {
        loop {
            let ending = self.ending();
            let mut wanted = self.desired.clone();
            let (background, ended) = (self.background.clone(), self.ended.clone());
            let next = tokio::select! {
                next = self.look() => next,
                // What comes up is dropped when the pod shall go; what was made of it is found by looking.
                () = goes(&mut wanted, &background, &ended), if !ending => Next::Again,
            };
            match next {
                Next::Again => {}
                Next::After(limit) => self.sleep(limit).await,
                Next::Done => break,
            }
            self.take();
        }
        self.leave();
    }

    /// Shows the pod to everyone on this node.
    pub fn enter(&self) {
        let (wake, background) = (self.wake.clone(), self.background.clone());
        let (notify, ended) = (self.wake.clone(), self.ended.clone());
        let end = move |reason: String, message: String, grace: i64| {
            lock(&background).end.get_or_insert(End { why: (reason, message), grace });
            ended.notify_one();
            notify.notify_one();
        };
        let view = self.view(&Observed::default());
        self.parts.context.pods.insert(view, Box::new(move || wake.notify_one()), Box::new(end));
    }

    fn leave(&self) {
        self.parts.probes.remove(&self.uid);
        self.parts.owners.remove(&self.uid);
        self.parts.reporter.forget(&self.uid);
        self.parts.context.pods.remove(&self.uid);
    }

    /// Refuses a pod that this node cannot run; one that was taken before is not asked again. To be called
    /// for one pod after the other: each counts those before it.
    pub fn admit(&mut self) {
        if self.status.start_time.is_some() || self.ending() || self.is_static {
            return;
        }
        let others = self.others();
        let node = self.parts.context.node.borrow().clone();
        let pressure = *self.parts.pressure.borrow();
        let refused = |(reason, message): (&str, String)| (reason.to_owned(), message);
        let admitted = self.parts.control.admits().map_err(refused);
        let admitted = admitted.and_then(|()| crate::eviction::admits(pressure, &self.pod).map_err(refused));
        let admitted = admitted.and_then(|()| {
            let others = others.iter().map(|view| &*view.pod);
            spec::admit(&self.pod, others, node.as_deref()).map_err(|refusal| (refusal.reason, refusal.message))
        });
        if let Err((reason, message)) = admitted {
            let message = format!("Pod was rejected: {message}");
            let warning = crate::events::Kind::Warning;
            self.parts.context.events.pod(&self.pod, None, warning, reason.clone(), message.clone());
            self.failed = Some((reason, message));
        }
    }

    /// The pods that this one shares the node with: all that were let in and are not over.
    pub(super) fn others(&self) -> Vec<Arc<PodView>> {
        let mut pods = self.parts.context.pods.list();
        pods.retain(|view| view.uid() != self.uid && !view.is_over());
        pods
    }

    async fn sleep(&mut self, limit: Option<Duration>) {
        let limit = limit.unwrap_or(Duration::from_secs(24 * 3600));
        tokio::select! {
            () = self.wake.notified() => {}
            () = tokio::time::sleep(limit) => {}
            // A closed channel means that the program ends.
            _ = self.desired.changed() => {}
        }
    }

    /// Takes what is wanted now.
    fn take(&mut self) {
        let Desired { pod, gone } = self.desired.borrow_and_update().clone();
        self.gone = gone;
        if !Arc::ptr_eq(&pod, &self.pod) {
            let before = (&self.pod.metadata.generation, &self.pod.spec);
            if before != (&pod.metadata.generation, &pod.spec) {
                self.shape = Shape::of(&pod);
            }
            let shown = (&self.pod.metadata.labels, &self.pod.metadata.annotations);
            if shown != (&pod.metadata.labels, &pod.metadata.annotations) && self.memory.volumes.is_some() {
                // What volumes show of the pod is brought up to date at once.
                self.memory.stale = true;
            }
            self.pod = pod;
        }
    }

    /// Whether the pod's phase is one that it never leaves.
    pub(super) fn over(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Whether the pod shall go: deleted, gone, or ended by this node.
    pub(super) fn ending(&self) -> bool {
        self.gone
            || self.pod.metadata.deletion_timestamp.is_some()
            || self.failed.is_some()
            || self.over()
            || self.background().end.is_some()
    }

    async fn look(&mut self) -> Next {
        let observed = match self.observer.observe().await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::debug!(uid = self.uid, "cannot look at the pod: {error}");
                return Next::After(Some(Duration::from_secs(1)));
            }
        };
        let findings = self.learn(&observed).await;
        let end = self.background().end.clone();
        if let (None, Some(end)) = (&self.failed, end) {
            // What replaces the pod elsewhere wants to know that it was not the pod's own fault.
            let disrupted = PodCondition {
                type_: "DisruptionTarget".to_owned(),
                status: "True".to_owned(),
                reason: Some("TerminationByKubelet".to_owned()),
                message: Some(end.why.1.clone()),
                last_transition_time: Timestamp::from_second(Timestamp::now().as_second()).ok().map(Time),
                ..PodCondition::default()
            };
            self.status.conditions.get_or_insert_default().push(disrupted);
            self.failed = Some(end.why);
        }
        self.late();
        if self.ending() {
            return self.end(&observed, &findings).await;
        }
        self.advance(&observed, findings).await
    }

    /// Fails a pod whose `activeDeadlineSeconds` have passed.
    fn late(&mut self) {
        if !self.ending() && self.deadline().is_some_and(|left| left.is_zero()) {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            let events = &self.parts.context.events;
            events.pod(&self.pod, None, crate::events::Kind::Normal, "DeadlineExceeded", message.clone());
            self.failed = Some(("DeadlineExceeded".to_owned(), message));
        }
    }

    /// What is left of `activeDeadlineSeconds`.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let end = self.status.start_time.as_ref()?.0.as_second() + seconds;
        Some(Duration::from_secs(u64::try_from(end - Timestamp::now().as_second()).unwrap_or_default()))
    }

    /// What is remembered, as deciding wants it.
    pub(super) fn known(&self, observed: &Observed, findings: HashMap<String, Findings>) -> Known {
        let background = self.background();
        let now = Timestamp::now().as_second();
        let waits = observed.containers.iter().filter(|seen| seen.exited()).filter_map(|seen| {
            let finished = seen.status.finished_at / 1_000_000_000;
            Some((seen.name.clone(), self.memory.backoff.wait(&seen.name, finished, now)?))
        });
        let retries = self.memory.retries.iter().filter_map(|(name, at)| {
            let left = at.saturating_duration_since(Instant::now());
            (!left.is_zero()).then(|| (name.clone(), i64::try_from(left.as_secs()).unwrap_or_default() + 1))
        });
        Known {
            findings,
            starting: background.starting.clone(),
            stopping: background.stopping.keys().cloned().collect(),
            replace: background.replace.clone(),
            waits: waits.collect(),
            retries: retries.collect(),
        }
    }

    pub(super) fn background(&self) -> MutexGuard<'_, Background> {
        lock(&self.background)
    }
}

/// What runs in the background, whoever holds it.
pub(super) fn lock(background: &Mutex<Background>) -> MutexGuard<'_, Background> {
    background.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns when the pod shall go.
async fn goes(wanted: &mut watch::Receiver<Desired>, background: &Mutex<Background>, ended: &Notify) {
    loop {
        let goes = {
            let desired = wanted.borrow_and_update();
            desired.gone || desired.pod.metadata.deletion_timestamp.is_some()
        };
        if goes || lock(background).end.is_some() {
            return;
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
            () = ended.notified() => {}
        }
    }
}
