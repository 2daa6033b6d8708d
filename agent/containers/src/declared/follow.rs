//! Owns following tags: what [`super::update`] decides is asked of registries and remembered here.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Datelike, Timelike};

use super::format::window::Moment;
use super::model::{Declaration, Declared, Update};
use super::reconciler::{Reconciler, now};
use super::update::{Decision, Facts, decide};
use super::world::{Followed, Memory, Millis, Observed};
use crate::error::{Error, Result};
use crate::images::reference;

impl Reconciler {
    /// Decides for every container that follows a tag.
    pub(super) async fn follow(
        self: &Arc<Self>,
        declared: &Declared,
        observed: &BTreeMap<String, Observed>,
    ) -> Result<()> {
        let mut next: Option<Millis> = None;
        let asked = std::mem::take(&mut self.volatile().ask_now);
        for declaration in declared.containers() {
            let Some(update) = declaration.update.as_ref().filter(|_| declaration.enabled) else { continue };
            self.begin(declaration).await?;
            let memory = self.keep.all().remove(&declaration.name).unwrap_or_default();
            match self.decided(declaration, update, &memory, observed, asked) {
                Decision::Nothing(Millis::MAX) => {}
                Decision::Nothing(until) => next = Some(next.map_or(until, |next| next.min(until))),
                Decision::Ask => self.ask(declaration, &memory.image),
                Decision::Settle => {
                    let previous = memory.image.previous.clone();
                    self.keep.change(&declaration.name, |memory| memory.image.settle())?;
                    tracing::info!(container = declaration.name, "the newer image is good");
                    self.let_go(previous).await;
                }
                Decision::GoBack(why) => {
                    tracing::warn!(container = declaration.name, "the newer image is no good: {why}");
                    self.keep.change(&declaration.name, |memory| memory.image.go_back(why))?;
                    self.volatile().failures.remove(&declaration.name);
                }
            }
        }
        self.volatile().update_at = next;
        Ok(())
    }

    fn decided(
        &self,
        declaration: &Declaration,
        update: &Update,
        memory: &Memory,
        observed: &BTreeMap<String, Observed>,
        asked: bool,
    ) -> Decision {
        let failure = self.volatile().failures.get(&declaration.name).map(|failure| failure.why.clone());
        // What we stopped ourselves, or a shutdown did, says nothing of an image.
        let telling = !memory.again && memory.boot == self.boot;
        decide(&Facts {
            update,
            followed: &memory.image,
            observed: observed.get(&declaration.name).filter(|_| telling),
            asked,
            failed: failure.as_deref(),
            now: now(),
            moment: moment(),
        })
    }

    /// Where following begins: with the image of that name that is here.
    async fn begin(&self, declaration: &Declaration) -> Result<()> {
        let known = self.keep.all().remove(&declaration.name).unwrap_or_default().image;
        if known.tag == declaration.image && known.wanted.is_some() {
            return Ok(());
        }
        let image = match self.images.find(&declaration.image).await {
            Ok(image) => pinned(&declaration.image, &image.digest)?,
            Err(Error::NotFound(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.keep.change(&declaration.name, |memory| memory.image = Followed::begin(&declaration.image, image, now()))
    }

    /// Asks the registry, beside everything else, unless that is under way.
    fn ask(self: &Arc<Self>, declaration: &Declaration, followed: &Followed) {
        if !self.volatile().asking.insert(declaration.name.clone()) {
            return;
        }
        let (reconciler, declaration, followed) = (self.clone(), declaration.clone(), followed.clone());
        tokio::spawn(async move {
            let asked = reconciler.asked(&declaration, &followed).await;
            reconciler.volatile().asking.remove(&declaration.name);
            if let Err(error) = asked {
                tracing::warn!(container = declaration.name, "cannot look for a newer image: {error}");
                let later = reconciler.keep.change(&declaration.name, |memory| memory.image.checked = now());
                later.unwrap_or_else(|error| tracing::warn!("{error}"));
            }
            reconciler.wake();
        });
    }

    async fn asked(&self, declaration: &Declaration, followed: &Followed) -> Result<()> {
        let digest = self.images.resolve(&declaration.image, None).await?;
        let image = pinned(&declaration.image, &digest)?;
        let new = followed.wanted.as_ref() != Some(&image) && !followed.bad.contains(&image);
        if new {
            self.images.pull(&image, None, |_| {}).await?;
            // There has to be a way back.
            if let Some(old) = &followed.wanted
                && self.images.find(old).await.is_err()
            {
                self.images.pull(old, None, |_| {}).await?;
            }
        }
        self.keep.change(&declaration.name, |memory| {
            if memory.image.tag == declaration.image && memory.image.told(image, now()) {
                tracing::info!(container = declaration.name, wanted = memory.image.wanted, "there is a newer image");
            }
        })
    }

    /// An image that nothing goes back to any more. It stays where something else needs it.
    async fn let_go(&self, image: Option<String>) {
        let Some(image) = image else { return };
        let needed = self.keep.all().values().any(|memory| {
            [&memory.image.wanted, &memory.image.previous].into_iter().flatten().any(|other| *other == image)
        });
        if !needed && let Err(error) = self.images.remove(&image, false).await {
            tracing::debug!(image, "the old image stays: {error}");
        }
    }
}

/// The name with a digest instead of its tag.
fn pinned(name: &str, digest: &str) -> Result<String> {
    Ok(format!("{}@{digest}", reference::repository(&reference::parse(name)?)))
}

/// The present, in the host's week.
fn moment() -> Moment {
    let now = chrono::Local::now();
    let day = u8::try_from(now.weekday().num_days_from_monday()).unwrap_or_default();
    let minute = u16::try_from(now.hour() * 60 + now.minute()).unwrap_or_default();
    Moment { day, minute }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_takes_the_place_of_the_tag() {
        assert_eq!(pinned("web:1", "sha256:0").unwrap(), "docker.io/library/web@sha256:0");
        assert_eq!(pinned("localhost:5000/web", "sha256:0").unwrap(), "localhost:5000/web@sha256:0");
    }
}
