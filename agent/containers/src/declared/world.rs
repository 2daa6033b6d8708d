//! Owns what the plan looks at: the containers there are, the images, what is remembered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::model::Declared;

/// Milliseconds since the epoch.
pub type Millis = u64;

/// Everything at one moment.
#[derive(Debug)]
pub struct World<'a> {
    /// What should be.
    pub declared: &'a Declared,
    /// What is, by name.
    pub observed: &'a BTreeMap<String, Observed>,
    /// What is remembered, by name.
    pub memories: &'a BTreeMap<String, Memory>,
    /// How it stands with an image, by what the declaration (or its update) names.
    pub images: &'a BTreeMap<String, ImageState>,
    /// What was tried and failed lately, by name.
    pub failures: &'a BTreeMap<String, Failure>,
    /// The present.
    pub now: Millis,
    /// Which boot this is.
    pub boot: &'a str,
}

/// A container that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Its id.
    pub id: String,
    /// Its owner, `FILE/NAME`; `None` when it was made by hand.
    pub owner: Option<String>,
    /// The digest of the declaration it was made from.
    pub hash: Option<String>,
    /// The digest of the group's network that it was made for.
    pub network: Option<String>,
    /// The image it was made from, as the plan named it.
    pub image: String,
    /// What it does.
    pub state: Life,
    /// When it was started last.
    pub started: Millis,
    /// When it ended last.
    pub finished: Millis,
    /// Its health, when it has a check.
    pub health: Option<Health>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Life {
    /// It was made and never started.
    #[default]
    Created,
    /// It runs (or is paused by hand).
    Running,
    /// It ended with this code.
    Exited(i64),
}

/// What a health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not yet.
    Starting,
    /// Yes.
    Healthy,
    /// No.
    Unhealthy,
}

/// How it stands with an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageState {
    /// It is there.
    Here,
    /// It is not there.
    Missing,
    /// It is under way.
    Pulling,
    /// It could not be had.
    Failed {
        /// Why.
        why: String,
        /// When to try again.
        until: Millis,
    },
}

/// Something that failed and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What and why.
    pub why: String,
    /// How often in a row.
    pub count: u32,
    /// When to try again.
    pub until: Millis,
}

/// What is remembered of a declared container, also over a restart of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Restarts in a row.
    pub restarts: u32,
    /// It was stopped only to be started again.
    pub again: bool,
    /// The boot it was started in last.
    pub boot: String,
    /// Which image it follows its tag to.
    pub image: Followed,
}

/// Where following a tag has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Followed {
    /// The tag that is followed, as it is declared.
    pub tag: String,
    /// `NAME@DIGEST` to run; `None` before the tag was first looked up.
    pub wanted: Option<String>,
    /// `NAME@DIGEST` to go back to, as long as the wanted one is on trial.
    pub previous: Option<String>,
    /// When the wanted one was first taken.
    pub since: Millis,
    /// When the registry was asked last.
    pub checked: Millis,
    /// Images that were tried and were no good, the newest last.
    pub bad: Vec<String>,
    /// Why the last of them was no good.
    pub reason: Option<String>,
}
