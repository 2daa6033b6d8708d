//! Owns what the daemon answers about declarations: the documents of `/keelson/declared`.

use serde::{Deserialize, Serialize};

use super::model::Declared;
use super::plan::Plan;
use super::step::{Action, Standing, Step};
use super::world::{Health, Memory, Observed};

/// How it stands with all that is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Every container.
    pub containers: Vec<Row>,
    /// Files that cannot be used.
    pub broken: Vec<BrokenFile>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// The file that declares it.
    pub file: String,
    /// `ok`, `waiting` or `failed`.
    pub standing: Standing,
    /// What is done next.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// What the action waits for.
    pub waits: Option<String>,
    /// Its id, when it is there.
    pub id: Option<String>,
    /// The image that it is made of, or is to be made of.
    pub image: String,
    /// The digest of that image, when it is here.
    pub digest: Option<String>,
    /// Its health, when it has a check.
    pub health: Option<Health>,
    /// Why the last newer image was no good.
    pub update: Option<String>,
    /// How what was done just now failed.
    pub error: Option<String>,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenFile {
    /// Its name.
    pub file: String,
    /// What is wrong, each `PATH:LINE:COLUMN: …`.
    pub problems: Vec<String>,
}

impl Report {
    /// The report of a plan.
    pub fn new(
        declared: &Declared,
        plan: &Plan,
        observed: &std::collections::BTreeMap<String, Observed>,
        memories: &std::collections::BTreeMap<String, Memory>,
    ) -> Self {
        let row = |step: &Step| {
            let found = observed.get(&step.name).filter(|found| Some(&found.id) == step.id.as_ref());
            Row::new(step, found, memories.get(&step.name))
        };
        let broken = declared.broken.iter().map(|broken| BrokenFile {
            file: broken.name.clone(),
            problems: broken.problems.iter().map(ToString::to_string).collect(),
        });
        Self { containers: plan.steps.iter().map(row).collect(), broken: broken.collect() }
    }

    /// Whether nothing is broken and nothing failed.
    pub fn good(&self) -> bool {
        self.broken.is_empty()
            && self.containers.iter().all(|row| row.standing != Standing::Failed && row.error.is_none())
    }
}

impl Row {
    fn new(step: &Step, observed: Option<&Observed>, memory: Option<&Memory>) -> Self {
        let file = step.owner.rsplit_once('/').map_or(step.owner.as_str(), |(file, _)| file);
        let trial = memory.filter(|memory| memory.image.previous.is_some());
        Self {
            name: step.name.clone(),
            file: file.to_owned(),
            standing: step.standing,
            action: step.action,
            reason: step.reason.clone(),
            waits: step.waits.as_ref().map(|waits| waits.why.clone()),
            id: step.id.clone(),
            image: step.image.clone(),
            digest: None,
            health: observed.and_then(|observed| observed.health),
            update: match trial {
                Some(_) => Some("a newer image is on trial".to_owned()),
                None => memory.and_then(|memory| memory.image.reason.clone()),
            },
            error: None,
        }
    }
}
