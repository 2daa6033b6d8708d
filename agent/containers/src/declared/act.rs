//! Owns doing what a plan says, by the engine's own calls. What goes down does so first, those that
//! require others before them; then everything comes up, those that are required first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;

use super::groups;
use super::model::{Declaration, HASH, IMAGE, NETWORK, OWNER};
use super::plan::delay;
use super::reconciler::{FIRST_PAUSE, LONGEST_PAUSE, Look, Reconciler, now};
use super::step::{Action, Step};
use super::world::{Failure, ImageState};
use crate::engine::{Container, Removal};
use crate::error::{Error, Result};

impl Reconciler {
    /// Does what is due; gives what failed, by the container's name.
    pub(super) async fn act(self: &Arc<Self>, look: &Look) -> BTreeMap<String, String> {
        for step in &look.plan.steps {
            if step.waits.as_ref().is_some_and(|waits| waits.pull) {
                self.pull(&step.image);
            }
        }
        let mut errors = BTreeMap::new();
        let declared: BTreeMap<String, &Declaration> =
            look.declared.containers().map(|declaration| (declaration.owner(), declaration)).collect();
        let due: Vec<&Step> = look.plan.steps.iter().filter(|step| step.is_due()).collect();
        let (orphans, rest): (Vec<&Step>, Vec<&Step>) =
            due.into_iter().partition(|step| !declared.contains_key(&step.owner));
        let removed = orphans.into_iter().map(|step| async move { (step, self.doing(step, self.down(step)).await) });
        let removed = join_all(removed).await;
        for (step, result) in removed {
            self.note(step, result, &mut errors);
        }
        for step in rest.iter().rev() {
            if matches!(step.action, Action::Stop | Action::Remove | Action::Replace | Action::Restart) {
                let result = self.doing(step, self.down(step)).await;
                self.note(step, result, &mut errors);
            }
        }
        for step in rest {
            if let (Action::Create | Action::Replace | Action::Start | Action::Restart, Some(declaration), false) =
                (step.action, declared.get(&step.owner), errors.contains_key(&step.name))
            {
                let result = self.doing(step, self.up(step, declaration, look)).await;
                self.note(step, result, &mut errors);
            }
        }
        errors
    }

    /// Does what belongs to `step`, which is told as under way meanwhile.
    async fn doing(&self, step: &Step, work: impl Future<Output = Result<()>>) -> Result<()> {
        self.volatile().under_way.insert(step.name.clone(), step.clone());
        let _done = UnderWay { reconciler: self, name: &step.name };
        work.await
    }

    /// Remembers a failure, to be tried again after a pause that grows.
    fn note(&self, step: &Step, result: Result<()>, errors: &mut BTreeMap<String, String>) {
        let mut volatile = self.volatile();
        match result {
            Ok(()) => {
                tracing::info!(container = step.name, "{:?}: {}", step.action, step.reason);
                volatile.failures.remove(&step.name);
            }
            Err(error) => {
                let why = error.to_string();
                errors.insert(step.name.clone(), why.clone());
                let count = volatile.failures.get(&step.name).map_or(0, |failure| failure.count);
                let until = now() + delay(FIRST_PAUSE, LONGEST_PAUSE, count);
                volatile.failures.insert(step.name.clone(), Failure { why, count: count + 1, until });
            }
        }
    }

    async fn down(&self, step: &Step) -> Result<()> {
        let Some(container) = self.ours(step)? else { return Ok(()) };
        if step.again || step.action == Action::Restart {
            self.keep.change(&step.name, |memory| memory.again = true)?;
        }
        match self.engine.stop(&container, None, None).await {
            Ok(()) | Err(Error::NotModified) => {}
            Err(error) => return Err(error),
        }
        if matches!(step.action, Action::Remove | Action::Replace) {
            self.engine.remove(&container, Removal { force: true, volumes: true }).await?;
        }
        Ok(())
    }

    /// The container of a step, if it is still there.
    fn ours(&self, step: &Step) -> Result<Option<Arc<Container>>> {
        let Some(id) = &step.id else { return Ok(None) };
        match self.engine.find(id) {
            Ok(container) => Ok(Some(container)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn up(&self, step: &Step, declaration: &Declaration, look: &Look) -> Result<()> {
        if let Some(group) = look.declared.groups().find(|group| declaration.group.as_ref() == Some(&group.name)) {
            groups::ensure(group, &self.network, &self.engine, &self.paths).await?;
        }
        let made = matches!(step.action, Action::Create | Action::Replace);
        let container = match made {
            true => self.engine.create(Some(&step.name), body(declaration, &step.image)).await?,
            false => match self.ours(step)? {
                Some(container) => container,
                // Gone meanwhile: the next look makes it anew.
                None => return Ok(()),
            },
        };
        self.keep.change(&step.name, |memory| {
            memory.boot.clone_from(&self.boot);
            memory.again = false;
            memory.restarts = step.restarts;
        })?;
        match self.engine.start(&container).await {
            Ok(()) | Err(Error::NotModified) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Pulls an image beside everything else, unless that is under way.
    fn pull(self: &Arc<Self>, image: &str) {
        let count = {
            let mut volatile = self.volatile();
            let count = match volatile.pulls.get(image) {
                Some((ImageState::Pulling, _)) => return,
                Some((_, count)) => *count,
                None => 0,
            };
            volatile.pulls.insert(image.to_owned(), (ImageState::Pulling, count));
            count
        };
        let (reconciler, image) = (self.clone(), image.to_owned());
        tokio::spawn(async move {
            let pulled = reconciler.images.pull(&image, None, |_| {}).await;
            {
                let mut volatile = reconciler.volatile();
                match pulled {
                    Ok(_) => drop(volatile.pulls.remove(&image)),
                    Err(error) => {
                        let why = format!("cannot pull {image}: {error}");
                        tracing::warn!("{why}");
                        let until = now() + delay(FIRST_PAUSE * 5, LONGEST_PAUSE, count);
                        volatile.pulls.insert(image, (ImageState::Failed { why, until }, count + 1));
                    }
                }
            }
            reconciler.wake();
        });
    }
}

/// A step that is being done, also when who asked for it goes away amid it.
struct UnderWay<'a> {
    reconciler: &'a Reconciler,
    name: &'a str,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.reconciler.volatile().under_way.remove(self.name);
    }
}

/// What the engine is asked: the declaration, with its owner, its digest and its image.
fn body(declaration: &Declaration, image: &str) -> bollard::models::ContainerCreateBody {
    let mut labels: HashMap<String, String> = declaration.body.labels.clone().unwrap_or_default();
    labels.insert(OWNER.to_owned(), declaration.owner());
    labels.insert(HASH.to_owned(), declaration.hash.clone());
    labels.extend(declaration.network.clone().map(|network| (NETWORK.to_owned(), network)));
    labels.insert(IMAGE.to_owned(), image.to_owned());
    bollard::models::ContainerCreateBody {
        image: Some(image.to_owned()),
        labels: Some(labels),
        ..declaration.body.clone()
    }
}
