//! Owns what a container waits for before it is made or started: its image, and other containers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::model::{Condition, Declaration};
use super::step::{Action, Step};
use super::world::{Health, ImageState, Life, Millis, World};

/// What an action waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// What, as a sentence.
    pub why: String,
    /// When that is over, in milliseconds since the epoch, where it is a matter of time.
    pub until: Option<Millis>,
    /// Whether its image has to be pulled now.
    #[serde(skip)]
    pub pull: bool,
    /// Whether this is a failure, not just a wait.
    pub failed: bool,
}

impl Waits {
    /// A wait for something to happen.
    pub fn why(why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::default() }
    }

    /// A wait for a moment.
    pub fn until(why: impl Into<String>, until: Millis) -> Self {
        Self { until: Some(until), ..Self::why(why) }
    }

    fn failed(why: impl Into<String>) -> Self {
        Self { failed: true, ..Self::why(why) }
    }
}

/// What keeps a container from being started now; `image` is what it is made of, where it has to be
/// made first.
pub fn blocked(
    world: &World<'_>,
    declaration: &Declaration,
    planned: &BTreeMap<String, Step>,
    image: Option<&str>,
) -> Option<Waits> {
    let image = image.and_then(|image| for_image(world, image));
    let required = declaration.requires.iter();
    let required = required.filter_map(|(name, condition)| for_required(world, planned, name, *condition)).next();
    let after = declaration.after.iter().filter_map(|name| for_order(planned, name)).next();
    // The image is fetched while it waits for others: first things first.
    image.or(required).or(after)
}

fn for_image(world: &World<'_>, image: &str) -> Option<Waits> {
    match world.images.get(image) {
        Some(ImageState::Here) => None,
        Some(ImageState::Pulling) => Some(Waits::why(format!("{image} is being pulled"))),
        Some(ImageState::Failed { why, until }) if *until > world.now => {
            Some(Waits { until: Some(*until), ..Waits::failed(why) })
        }
        Some(ImageState::Failed { .. } | ImageState::Missing) | None => {
            Some(Waits { pull: true, ..Waits::why(format!("{image} has to be pulled")) })
        }
    }
}

fn for_required(
    world: &World<'_>,
    planned: &BTreeMap<String, Step>,
    name: &str,
    condition: Condition,
) -> Option<Waits> {
    let Some(step) = planned.get(name) else {
        return Some(Waits::failed(format!("it requires {name}, which no file declares")));
    };
    if step.action == Action::Refuse {
        return Some(Waits::failed(format!("it requires {name}, of which: {}", step.reason)));
    }
    let observed = world.observed.get(name).filter(|_| step.action == Action::Keep);
    let life = observed.map(|observed| observed.state);
    let health = observed.and_then(|observed| observed.health);
    match (condition, life) {
        (Condition::Started, Some(Life::Running)) | (Condition::Completed, Some(Life::Exited(0))) => None,
        (Condition::Healthy, Some(Life::Running)) => match health {
            Some(Health::Healthy) => None,
            None => Some(Waits::failed(format!("it requires {name} to be healthy, which has no health check"))),
            Some(_) => Some(Waits::why(format!("it requires {name} to be healthy"))),
        },
        (Condition::Started, _) => Some(Waits::why(format!("it requires {name} to be started"))),
        (Condition::Healthy, _) => Some(Waits::why(format!("it requires {name} to be healthy"))),
        (Condition::Completed, Some(Life::Exited(code))) => {
            Some(Waits::failed(format!("it requires {name} to be completed, which ended with {code}")))
        }
        (Condition::Completed, _) => Some(Waits::why(format!("it requires {name} to be completed"))),
    }
}

/// Order alone: it is enough that the other is on its way no more.
fn for_order(planned: &BTreeMap<String, Step>, name: &str) -> Option<Waits> {
    let step = planned.get(name)?;
    step.is_moving().then(|| Waits::why(format!("it is started after {name}")))
}
