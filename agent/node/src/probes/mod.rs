//! Owns liveness, readiness and startup probes: one task each while its container runs.
//!
//! ```text
//! PodView ──update──▶ Probes ── one Job a probe ──▶ check ──▶ Outcome ──Tally──▶ State ──▶ Findings
//!                                                             │                   │
//!                                                             ▼ event             ▼ wake, on a change
//! ```
//!
//! A container without probes has no task and no timer. Everything is kept by the container's id, so
//! that a container which was restarted begins anew.

mod check;
pub(crate) mod http;
mod plan;
mod state;
mod tally;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodStatus};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::context::Context;
use crate::cri::v1;
use crate::events;
use crate::pods::{ContainerKind, ContainerView, PodView};
use plan::{Check, Kind, Pace};
use state::State;
use task::{Job, Parts};

/// What probes say of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Whether it has started: true where there is no startup probe and it runs.
    pub started: bool,
    /// Whether it is ready: true where there is no readiness probe, it runs and has started.
    pub ready: bool,
    /// Why it must be restarted: its startup or liveness probe failed often enough. Says which and how.
    pub kill: Option<String>,
    /// The seconds of grace that the probe which failed gives; the pod's where there is nothing.
    pub grace: Option<i64>,
}

/// The probes of all pods.
pub struct Probes {
    parts: Arc<Parts>,
    /// By the pod's UID, then by the container's name.
    pods: Mutex<HashMap<String, HashMap<String, Watched>>>,
    /// When the agent started, nanoseconds since the epoch.
    began: i128,
}

/// A container that runs.
struct Watched {
    id: Arc<str>,
    state: Arc<watch::Sender<State>>,
    tasks: Vec<Running>,
}

/// A task that ends when nobody wants it any more.
struct Running(Kind, AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.1.abort();
    }
}

impl Probes {
    /// None yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self::with(Parts {
            cri: context.cri.clone(),
            events: context.events.clone(),
            pods: context.pods.clone(),
            host: context.settings.addresses.first().copied(),
        })
    }

    fn with(parts: Parts) -> Self {
        Self { parts: Arc::new(parts), pods: Mutex::default(), began: Timestamp::now().as_nanosecond() }
    }

    /// Starts probes of containers that run and have none, ends those of containers that do not run any
    /// more. Called by the pod's worker whenever something changed; cheap. Needs a tokio runtime.
    ///
    /// Containers that are new here begin with what the API's status (`view.pod.status`) tells of that very
    /// container id, so that a restart of the agent takes no ready container away from its Service.
    pub fn update(&self, view: &PodView) {
        self.update_from(view, view.pod.status.as_ref());
    }

    /// The same with another status to begin with: for static pods their mirror's.
    pub fn update_from(&self, view: &PodView, previous: Option<&PodStatus>) {
        let mut pods = self.lock();
        let watched = pods.entry(view.uid().to_owned()).or_default();
        watched.retain(|name, watched| {
            let now = view.container(name);
            now.is_some_and(|now| runs(now) && *now.id == *watched.id)
        });
        for now in view.containers.iter().filter(|now| runs(now)) {
            if !watched.contains_key(&now.name) {
                watched.insert(now.name.clone(), self.watch(view, now, previous));
            }
        }
        if view.terminating {
            watched.values_mut().for_each(Watched::end);
        }
        if watched.is_empty() {
            pods.remove(view.uid());
        }
    }

    /// What the probes of container `id` of a pod say now. Of a container that [`Self::update`] has not
    /// been told of as running: neither started nor ready.
    pub fn findings(&self, uid: &str, container: &str, id: &str) -> Findings {
        let pods = self.lock();
        let watched = pods.get(uid).and_then(|pod| pod.get(container));
        watched
            .filter(|watched| *watched.id == *id)
            .map(|watched| watched.state.borrow().findings())
            .unwrap_or_default()
    }

    /// Ends liveness and startup probes (the pod is going), readiness goes on.
    pub fn terminating(&self, uid: &str) {
        if let Some(pod) = self.lock().get_mut(uid) {
            pod.values_mut().for_each(Watched::end);
        }
    }

    /// Ends all probes of a pod.
    pub fn remove(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn watch(&self, view: &PodView, now: &ContainerView, previous: Option<&PodStatus>) -> Watched {
        let container = view.probed().find(|container| container.name == now.name);
        let container = container.filter(|_| matches!(now.kind, ContainerKind::App | ContainerKind::Sidecar));
        let probe = |kind: Kind| container.and_then(|container| kind.of(container));
        let before = previous.and_then(|status| status_of(status, &now.id));
        // What has no readiness, as an init container, is never ready while it runs.
        let has_readiness = probe(Kind::Readiness).is_some() || container.is_none();
        let state = State::first(probe(Kind::Startup).is_some(), has_readiness, before);
        let started = state.started;
        let mut watched =
            Watched { id: now.id.as_str().into(), state: Arc::new(watch::Sender::new(state)), tasks: Vec::new() };
        for kind in Kind::ALL {
            let done = kind == Kind::Startup && started;
            let unwanted = kind != Kind::Readiness && view.terminating;
            if let Some(container) = container.filter(|_| !done && !unwanted) {
                watched.tasks.extend(self.start(view, now, container, kind, &watched));
            }
        }
        watched
    }

    fn start(
        &self,
        view: &PodView,
        now: &ContainerView,
        container: &Container,
        kind: Kind,
        watched: &Watched,
    ) -> Option<Running> {
        let probe = kind.of(container)?;
        let job = Job {
            parts: self.parts.clone(),
            uid: view.uid().into(),
            id: watched.id.clone(),
            name: container.name.as_str().into(),
            about: events::reference(&view.pod, Some(&container.name)),
            kind,
            check: Check::new(probe, container),
            pace: Pace::new(probe),
            grace: probe.termination_grace_period_seconds,
            on_host: view.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true)),
            started_at: now.started_at,
            adopted: i128::from(now.started_at) < self.began,
            state: watched.state.clone(),
        };
        Some(Running(kind, tokio::spawn(job.run()).abort_handle()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Watched>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn end(&mut self) {
        self.tasks.retain(|task| task.0 == Kind::Readiness);
        self.state.send_if_modified(|state| {
            state.end();
            false
        });
    }
}

fn runs(container: &ContainerView) -> bool {
    container.state == v1::ContainerState::ContainerRunning
}

/// What a status says of the container of that id.
fn status_of<'a>(status: &'a PodStatus, id: &str) -> Option<&'a ContainerStatus> {
    let apps = status.container_statuses.iter().flatten();
    let mut all = apps.chain(status.init_container_statuses.iter().flatten());
    all.find(|status| status.container_id.as_deref().and_then(|url| url.rsplit("://").next()) == Some(id))
}

#[cfg(test)]
mod tests;
