//! Owns how the engine's containers look to the plan.

use std::collections::BTreeMap;

use bollard::models::HealthStatusEnum;

use super::model::{HASH, IMAGE, NETWORK, OWNER};
use super::world::{Health, Life, Millis, Observed};
use crate::engine::{Container, Engine, Moment, State, Status};

/// All containers, by name.
pub fn all(engine: &Engine) -> BTreeMap<String, Observed> {
    engine.all().iter().map(|container| (container.name(), one(container))).collect()
}

fn one(container: &Container) -> Observed {
    let (record, state) = (container.record(), container.state());
    let label = |name: &str| record.config.labels.as_ref().and_then(|labels| labels.get(name).cloned());
    Observed {
        id: record.id.clone(),
        owner: label(OWNER),
        hash: label(HASH),
        network: label(NETWORK),
        image: label(IMAGE).or_else(|| record.config.image.clone()).unwrap_or_default(),
        state: life(&state),
        started: millis(state.started),
        finished: millis(state.finished),
        health: health(&state),
    }
}

fn life(state: &State) -> Life {
    match state.status {
        // A start that failed leaves the state it was tried in.
        Status::Created => Life::Created,
        Status::Running | Status::Paused | Status::Restarting => Life::Running,
        Status::Exited | Status::Removing | Status::Dead => Life::Exited(state.exit_code),
    }
}

fn health(state: &State) -> Option<Health> {
    match state.health.as_ref()?.status? {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => None,
    }
}

fn millis(moment: Option<Moment>) -> Millis {
    moment.map_or(0, Moment::millis)
}
