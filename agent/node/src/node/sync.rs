//! Owns keeping the Node's status true: asks containerd how it is, compares, sends what differs.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerImage, Node, NodeStatus};
use kube::api::{Api, Patch, PatchParams};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::{Backoff, jittered};
use super::conditions::Health;
use super::facts::Facts;
use super::register::{LIMIT, ensure};
use super::runtime::{Runtime, images};
use super::status::{Now, desired, patch, rebooted};
use super::{Control, watch as shown};
use crate::context::Context;
use crate::events::Kind;
use crate::eviction::Pressure;

/// How often containerd is asked how it is.
const CHECK: Duration = Duration::from_secs(10);
/// How often while the node is not ready: soon after something happened, and later.
const EAGER: Duration = Duration::from_millis(250);
const PATIENT: Duration = Duration::from_secs(2);
const EAGER_FOR: Duration = Duration::from_secs(30);
/// How often the Node is written when nothing changes.
const HEARTBEAT: Duration = Duration::from_secs(300);
/// The least time between two writes: another who writes the same must not make this one write without end.
const GAP: Duration = Duration::from_secs(1);

struct Sync<'a> {
    context: &'a Context,
    control: &'a Control,
    facts: Facts,
    runtime: Runtime,
    images: Option<Vec<ContainerImage>>,
    /// When containerd is asked next.
    check: Instant,
    /// Until when it is asked eagerly.
    eager: Instant,
    /// When the Node is written even though nothing changed, and its images are listed.
    heartbeat: Instant,
    /// When it was last written.
    written: Option<Instant>,
    /// Until when nothing is written after a failure: the API must not be met by all nodes at once.
    retry: Option<Instant>,
    backoff: Backoff,
    unschedulable: Option<bool>,
}

/// Keeps the status true for ever.
pub async fn run(context: &Context, control: &Control, mut pressure: watch::Receiver<Pressure>) {
    let now = Instant::now();
    let mut sync = Sync {
        context,
        control,
        facts: Facts::gather(&context.settings),
        runtime: Runtime::default(),
        images: None,
        check: now,
        eager: now + EAGER_FOR,
        heartbeat: now,
        written: None,
        retry: None,
        backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
        unschedulable: None,
    };
    let mut nodes = context.node.subscribe();
    let mut shutting_down = control.shutting_down.subscribe();
    loop {
        let short = *pressure.borrow_and_update();
        sync.observe(short).await;
        nodes.mark_unchanged();
        let again = sync.step(short).await;
        let next = again.map_or(sync.check, |again| again.min(sync.check));
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = control.wake.notified() => sync.look_at_once(),
            Ok(()) = nodes.changed() => {}
            Ok(()) = pressure.changed() => {}
            Ok(()) = shutting_down.changed() => {}
        }
    }
}

impl Sync<'_> {
    fn look_at_once(&mut self) {
        let now = Instant::now();
        (self.check, self.eager) = (now, now + EAGER_FOR);
    }

    /// Asks containerd when it is time to.
    async fn observe(&mut self, pressure: Pressure) {
        let now = Instant::now();
        if now < self.check {
            return;
        }
        self.runtime.observe(&self.context.cri).await;
        let ready = self.health(pressure).problems.is_empty();
        let pause = match () {
            () if ready => CHECK,
            () if now < self.eager => EAGER,
            () => PATIENT,
        };
        self.check = Instant::now() + pause;
    }

    fn health(&self, pressure: Pressure) -> Health {
        let mut problems = self.runtime.problems(std::time::Instant::now());
        if self.control.shutting_down() {
            problems.push("node is shutting down".to_owned());
        }
        Health { problems, pressure }
    }

    /// Brings the API's Node in line. Gives when there is something to write again.
    async fn step(&mut self, pressure: Pressure) -> Option<Instant> {
        let now = Instant::now();
        if let Some(retry) = self.retry.filter(|retry| now < *retry) {
            return Some(retry);
        }
        let health = self.health(pressure);
        self.retry = None;
        let node = self.context.node.borrow().clone();
        match node {
            Some(node) => Some(self.write(&node, health).await.unwrap_or(self.heartbeat)),
            None if self.control.leaving() => None,
            None => match ensure(self.context, &self.facts, &self.now(health)).await {
                Ok(()) => Some(self.heartbeat),
                Err(error) => Some(self.failed("register the node", &error.to_string())),
            },
        }
    }

    /// Says what failed, once, and when to try again.
    fn failed(&mut self, what: &str, why: &str) -> Instant {
        if self.backoff.failing() {
            tracing::debug!("cannot {what}: {why}");
        } else {
            tracing::warn!("cannot {what}, trying again: {why}");
        }
        *self.retry.insert(Instant::now() + self.backoff.wait())
    }

    fn now(&self, health: Health) -> Now {
        Now { health, runtime: self.runtime.shown(), images: self.images.clone() }
    }

    /// Writes what differs. Gives when to come back where that is not when the next heartbeat is due.
    async fn write(&mut self, node: &Node, health: Health) -> Option<Instant> {
        self.tell_schedulable(node);
        let now = Instant::now();
        let heartbeat = now >= self.heartbeat;
        if heartbeat && let Ok(images) = images(&self.context.cri).await {
            self.images = Some(images);
        }
        let empty = NodeStatus::default();
        let observed = node.status.as_ref().unwrap_or(&empty);
        let (wanted, events) = desired(&self.facts, &self.now(health), observed, Timestamp::now());
        let patch = patch(observed, &wanted, heartbeat)?;
        let early = self.written.map(|written| written + GAP).filter(|early| now < *early && events.is_empty());
        if early.is_some() {
            return early;
        }
        self.written = Some(now);
        match self.send(patch).await {
            Ok(new) => {
                self.heartbeat = now + jittered(HEARTBEAT, 0.1);
                self.backoff.reset();
                events.iter().for_each(|event| self.tell(node, event));
                self.tell_reboot(node);
                shown::publish(self.context, new);
                None
            }
            Err(error) => Some(self.failed("write the node's status", &error)),
        }
    }

    /// The Node as written; nothing when it is not there any more.
    async fn send(&self, patch: Value) -> Result<Option<Node>, String> {
        let api: Api<Node> = Api::all(self.context.client.clone());
        let (params, patch) = (PatchParams::default(), Patch::Strategic(patch));
        let sent = api.patch_status(&self.context.settings.name, &params, &patch);
        match tokio::time::timeout(LIMIT, sent).await {
            Ok(Ok(node)) => Ok(Some(node)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        }
    }

    fn tell(&self, node: &Node, event: &'static str) {
        let message = format!("Node {} status is now: {event}", self.context.settings.name);
        self.context.events.node(node, Kind::Normal, event, message);
    }

    fn tell_reboot(&self, node: &Node) {
        if rebooted(node, &self.facts) {
            let (name, boot) = (&self.context.settings.name, &self.facts.info.boot_id);
            let message = format!("Node {name} has been rebooted, boot id: {boot}");
            self.context.events.node(node, Kind::Warning, "Rebooted", message);
        }
    }

    fn tell_schedulable(&mut self, node: &Node) {
        let now = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
        if self.unschedulable.replace(now).is_some_and(|before| before != now) {
            self.tell(node, if now { "NodeNotSchedulable" } else { "NodeSchedulable" });
        }
    }
}
