//! Owns what a plan is made of: what is done with one container, why, and what that waits for.

use serde::{Deserialize, Serialize};

use super::model::Declaration;
use super::waits::Waits;
use super::world::Observed;

/// What is done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing.
    Keep,
    /// It is made and started.
    Create,
    /// It is removed, and made anew and started.
    Replace,
    /// It is started.
    Start,
    /// It is stopped and started.
    Restart,
    /// It is stopped.
    Stop,
    /// It is removed.
    Remove,
    /// Nothing can be done before a person changes something.
    Refuse,
}

/// How it stands with a declared container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As declared.
    Ok,
    /// On the way there.
    Waiting,
    /// Not as declared, and waiting alone will not help.
    Failed,
}

/// What is done with one container, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Its declaration, `FILE/NAME`.
    pub owner: String,
    /// Its id, when it is there.
    pub id: Option<String>,
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// What the action waits for; nothing is done before.
    pub waits: Option<Waits>,
    /// How it stands.
    pub standing: Standing,
    /// The image it is made of.
    pub image: String,
    /// Whether it is only stopped to be started again.
    #[serde(skip)]
    pub again: bool,
    /// Restarts in a row, this one counted.
    #[serde(skip)]
    pub restarts: u32,
}

impl Step {
    pub(super) fn new(
        declaration: &Declaration,
        observed: Option<&Observed>,
        action: Action,
        reason: impl Into<String>,
    ) -> Self {
        let standing = match action {
            Action::Keep => Standing::Ok,
            Action::Refuse => Standing::Failed,
            _ => Standing::Waiting,
        };
        Self {
            name: declaration.name.clone(),
            owner: declaration.owner(),
            id: observed.map(|observed| observed.id.clone()),
            action,
            reason: reason.into(),
            waits: None,
            standing,
            image: declaration.image.clone(),
            again: false,
            restarts: 0,
        }
    }

    /// Whether something is to be done at once.
    pub fn is_due(&self) -> bool {
        self.waits.is_none() && !matches!(self.action, Action::Keep | Action::Refuse)
    }

    /// Whether the container is on its way down, or up, in this step.
    pub fn is_moving(&self) -> bool {
        match &self.waits {
            Some(waits) => !waits.failed,
            None => self.is_due(),
        }
    }

    pub(super) fn waiting(mut self, waits: Option<Waits>) -> Self {
        if waits.as_ref().is_some_and(|waits| waits.failed) {
            self.standing = Standing::Failed;
        }
        self.waits = waits;
        self
    }
}
