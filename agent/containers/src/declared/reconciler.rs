//! Owns the loop: look at everything, decide, do what is due, and wait for something to happen. It
//! keeps nothing that it could look up, so that it may be ended at any point.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::{EventMessage, EventMessageTypeEnum};
use tokio::sync::{Notify, broadcast};

use super::keep::Keep;
use super::load::Folders;
use super::model::{Declaration, Declared};
use super::plan::{Plan, plan, wanted_image};
use super::report::Report;
use super::step::Step;
use super::watch::Watch;
use super::world::{Failure, ImageState, Memory, Millis, Observed, World};
use super::{groups, observe};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::images::Images;
use crate::network::Network;
use crate::options::Options;
use crate::paths::Paths;

/// The wait before something that failed is tried again: first, and longest.
pub(super) const FIRST_PAUSE: Millis = 1_000;
pub(super) const LONGEST_PAUSE: Millis = 300_000;

/// The least wait between two looks.
const CALM: Millis = 50;

/// Brings containers to what is declared.
#[derive(Debug)]
pub struct Reconciler {
    pub(super) engine: Arc<Engine>,
    pub(super) images: Arc<Images>,
    pub(super) network: Arc<Network>,
    pub(super) paths: Paths,
    pub(super) keep: Keep,
    pub(super) boot: String,
    events: Events,
    folders: Folders,
    volatile: Mutex<Volatile>,
    /// One pass at a time.
    turn: tokio::sync::Mutex<()>,
    wake: Notify,
}

/// What is worth no file: a new daemon tries everything anew.
#[derive(Debug, Default)]
pub(super) struct Volatile {
    /// What failed lately, by the container's name.
    pub failures: BTreeMap<String, Failure>,
    /// Images under way, and those that could not be had: how often in a row.
    pub pulls: BTreeMap<String, (ImageState, u32)>,
    /// What is being done right now, by the container's name.
    pub under_way: BTreeMap<String, Step>,
    /// Containers whose registry is being asked.
    pub asking: BTreeSet<String>,
    /// Whether a person wants the registries asked now.
    pub ask_now: bool,
    /// When a tag is to be looked up next.
    pub update_at: Option<Millis>,
}

/// Everything at one moment, and what follows from it.
#[derive(Debug)]
pub(super) struct Look {
    pub declared: Declared,
    pub observed: BTreeMap<String, Observed>,
    pub memories: BTreeMap<String, Memory>,
    pub plan: Plan,
}

impl Look {
    /// The report of it.
    pub fn report(&self) -> Report {
        Report::new(&self.declared, &self.plan, &self.observed, &self.memories)
    }
}

impl Reconciler {
    /// One over the other parts.
    pub fn new(
        engine: Arc<Engine>,
        images: Arc<Images>,
        network: Arc<Network>,
        events: Events,
        paths: Paths,
        options: &Options,
    ) -> Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Ok(Self {
            keep: Keep::open(&paths.root().join("declared"))?,
            folders: Folders::new(&options.declarations),
            boot: boot.trim().to_owned(),
            engine,
            images,
            network,
            paths,
            events,
            volatile: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Works for good. Every change of a file, end of a container and news of its health leads to
    /// another look; so does what was to be tried later.
    pub async fn run(self: Arc<Self>) {
        let (_, mut events) = self.events.subscribe();
        let watch = Watch::new(self.folders.paths())
            .inspect_err(|error| tracing::warn!("changed declarations are not seen by themselves: {error}"))
            .ok();
        loop {
            let next = match self.pass().await {
                Ok((report, next)) => {
                    told(&report);
                    next
                }
                Err(error) => {
                    tracing::warn!("cannot look after the declared containers: {error}");
                    Some(now() + LONGEST_PAUSE / 60)
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = until(next) => {}
                () = changed(watch.as_ref()) => {}
                () = concerning(&mut events) => {}
            }
        }
    }

    /// Has the loop look again.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// How it stands now; nothing is done.
    pub async fn look(&self) -> Result<Report> {
        let declared = self.load().await?;
        // In this order: what is being done is remembered before it can be seen.
        let memories = self.keep.all();
        let under_way = self.volatile().under_way.clone();
        let mut look = self.see(declared, memories, observe::all(&self.engine)).await;
        look.plan.take_over(under_way);
        let mut report = look.report();
        self.add_digests(&mut report).await;
        Ok(report)
    }

    /// Does what is due, at once: what failed before is tried again without waiting. With `update`
    /// the registries are asked for newer images, too.
    pub async fn apply(self: &Arc<Self>, update: bool) -> Result<Report> {
        {
            let mut volatile = self.volatile();
            volatile.ask_now |= update;
            volatile.failures.clear();
            volatile.pulls.retain(|_, (state, _)| *state == ImageState::Pulling);
        }
        let (report, _) = self.pass().await?;
        self.wake();
        Ok(report)
    }

    /// One pass: what was found and done, and when to look again.
    async fn pass(self: &Arc<Self>) -> Result<(Report, Option<Millis>)> {
        let _turn = self.turn.lock().await;
        let declared = self.load().await?;
        let observed = observe::all(&self.engine);
        self.keep.forget(|name| observed.contains_key(name) || declared.containers().any(|one| one.name == name));
        self.follow(&declared, &observed).await?;
        let look = self.see(declared, self.keep.all(), observed).await;
        let errors = self.act(&look).await;
        groups::sweep(&look.declared, &self.network, &self.engine, &self.paths).await;
        let mut report = look.report();
        for row in &mut report.containers {
            row.error = errors.get(&row.name).cloned();
        }
        let done = look.plan.steps.iter().any(|step| step.is_due());
        let update = self.volatile().update_at;
        let next = if done { Some(now() + CALM) } else { look.plan.wake.into_iter().chain(update).min() };
        Ok((report, next))
    }

    async fn load(&self) -> Result<Declared> {
        let folders = self.folders.clone();
        let loading = tokio::task::spawn_blocking(move || folders.load()).await;
        let loaded = loading.map_err(|error| Error::failed("read the declarations", error))?;
        loaded.map_err(|error| Error::failed("read the declarations", error))
    }

    async fn see(
        &self,
        declared: Declared,
        memories: BTreeMap<String, Memory>,
        observed: BTreeMap<String, Observed>,
    ) -> Look {
        let images = self.images_of(&declared, &observed, &memories).await;
        let failures = self.volatile().failures.clone();
        let plan = plan(&World {
            declared: &declared,
            observed: &observed,
            memories: &memories,
            images: &images,
            failures: &failures,
            now: now(),
            boot: &self.boot,
        });
        Look { declared, observed, memories, plan }
    }

    /// How it stands with the images of containers that have to be made.
    async fn images_of(
        &self,
        declared: &Declared,
        observed: &BTreeMap<String, Observed>,
        memories: &BTreeMap<String, Memory>,
    ) -> BTreeMap<String, ImageState> {
        let wanted = |declaration: &Declaration| {
            let image = wanted_image(declaration, memories.get(&declaration.name));
            let found = observed.get(&declaration.name);
            let same = found.is_some_and(|found| {
                let same = found.hash.as_ref() == Some(&declaration.hash) && found.network == declaration.network;
                same && (declaration.update.is_none() || found.image == image)
            });
            (declaration.enabled && !same).then_some(image)
        };
        let names: BTreeSet<String> = declared.containers().filter_map(wanted).collect();
        let mut states = BTreeMap::new();
        for name in names {
            let state = self.image_state(&name).await;
            states.insert(name, state);
        }
        states
    }

    async fn image_state(&self, name: &str) -> ImageState {
        let known = self.volatile().pulls.get(name).map(|(state, _)| state.clone());
        if known == Some(ImageState::Pulling) {
            return ImageState::Pulling;
        }
        match self.images.find(name).await {
            Ok(_) => {
                self.volatile().pulls.remove(name);
                ImageState::Here
            }
            Err(Error::NotFound(_)) => known.unwrap_or(ImageState::Missing),
            Err(error) => ImageState::Failed { why: error.to_string(), until: now() + FIRST_PAUSE },
        }
    }

    async fn add_digests(&self, report: &mut Report) {
        let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
        for row in &mut report.containers {
            if !known.contains_key(&row.image) {
                let digest = self.images.find(&row.image).await.ok().map(|image| image.digest);
                known.insert(row.image.clone(), digest);
            }
            row.digest = known.get(&row.image).cloned().flatten();
        }
    }

    pub(super) fn volatile(&self) -> MutexGuard<'_, Volatile> {
        self.volatile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The present, in milliseconds since the epoch.
pub(super) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn until(moment: Option<Millis>) {
    match moment {
        Some(moment) => tokio::time::sleep(Duration::from_millis(moment.saturating_sub(now()))).await,
        None => pending().await,
    }
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => {
            if let Err(error) = watch.changed().await {
                tracing::warn!("cannot wait for changed declarations: {error}");
                tokio::time::sleep(Duration::from_millis(LONGEST_PAUSE)).await;
            }
        }
        None => pending().await,
    }
}

/// Returns at an event that may change what is to be done.
async fn concerning(events: &mut broadcast::Receiver<EventMessage>) {
    loop {
        match events.recv().await {
            Ok(event) if !concerns(&event) => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => pending().await,
        }
    }
}

fn concerns(event: &EventMessage) -> bool {
    let action = event.action.as_deref().unwrap_or_default();
    event.typ == Some(EventMessageTypeEnum::CONTAINER)
        && (matches!(action, "die" | "start" | "destroy" | "rename") || action.starts_with("health_status"))
}

/// Says in the journal what was done and what is wrong.
fn told(report: &Report) {
    for row in &report.containers {
        if let Some(error) = &row.error {
            tracing::warn!(container = row.name, file = row.file, "{}: {error}", row.reason);
        }
    }
    for broken in &report.broken {
        for problem in &broken.problems {
            tracing::debug!("{problem}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_change_something_wakes() {
        let event =
            |typ, action: &str| EventMessage { typ: Some(typ), action: Some(action.into()), ..EventMessage::default() };
        assert!(concerns(&event(EventMessageTypeEnum::CONTAINER, "die")));
        assert!(concerns(&event(EventMessageTypeEnum::CONTAINER, "health_status: unhealthy")));
        assert!(!concerns(&event(EventMessageTypeEnum::CONTAINER, "exec_start")));
        assert!(!concerns(&event(EventMessageTypeEnum::IMAGE, "pull")));
    }
}
