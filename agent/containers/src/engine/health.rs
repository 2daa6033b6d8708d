//! Owns what is kept of a container's health.

use std::sync::Arc;

use bollard::models::{ContainerConfig, Health};

use super::Engine;
use super::container::Container;
use super::moment::Moment;
use crate::health::decide::{Check, starting};

impl Engine {
    /// Notes the health of the run that began at `run`, and tells of it when it is another; false when
    /// that run is over.
    pub async fn set_health(&self, container: &Arc<Container>, run: Moment, health: Health) -> bool {
        let _turn = container.turn().await;
        let before = container.state();
        if !before.status.alive() || before.started != Some(run) {
            return false;
        }
        let old = before.health.and_then(|health| health.status);
        let new = health.status;
        container.set(|state| state.health = Some(health));
        if let Some(new) = new.filter(|new| Some(*new) != old) {
            self.tell(container, &format!("health_status: {new}"), &[]);
        }
        true
    }
}

/// The health of a container that was just started: not known yet, or without a check never known.
pub(super) fn initial(config: &ContainerConfig) -> Option<Health> {
    Check::new(config.healthcheck.as_ref(), config.shell.as_deref()).map(|_| starting())
}
