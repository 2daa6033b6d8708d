//! Owns the decision: from what is declared and what there is to what is done next. A pure
//! function; it is asked again after everything that happens, so it only ever looks one step ahead
//! and says what the rest waits for.

use std::collections::BTreeMap;

use super::model::{Declaration, Policy};
use super::order::{Order, order};
use super::step::{Action, Standing, Step};
use super::waits::{Waits, blocked};
use super::world::{Health, ImageState, Life, Memory, Millis, Observed, World};

/// What is done next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// A step a container: first those that no file declares any more, then each after what it
    /// waits for. What goes down does so in the opposite order, before anything comes up.
    pub steps: Vec<Step>,
    /// When to look again, should nothing happen before.
    pub wake: Option<Millis>,
}

impl Plan {
    /// Puts the steps that are being done, by name, in the place of what would be decided amid them:
    /// a restart is counted before the container runs again.
    pub fn take_over(&mut self, mut under_way: BTreeMap<String, Step>) {
        for step in &mut self.steps {
            if let Some(doing) = under_way.remove(&step.name).filter(|doing| doing.owner == step.owner) {
                *step = doing;
            }
        }
    }
}

/// Decides.
pub fn plan(world: &World<'_>) -> Plan {
    let mut first: BTreeMap<&str, &Declaration> = BTreeMap::new();
    let mut twice = Vec::new();
    for declaration in world.declared.containers() {
        match first.get(declaration.name.as_str()) {
            Some(other) => twice.push((declaration, other.file.clone())),
            None => drop(first.insert(&declaration.name, declaration)),
        }
    }
    let Order { sorted, circles } = order(&first.values().copied().collect::<Vec<_>>());
    let mut steps = orphans(world, &first);
    let mut planned: BTreeMap<String, Step> = BTreeMap::new();
    for declaration in sorted {
        let step = match circles.get(&declaration.name) {
            Some(way) => refusal(world, declaration, format!("it waits for itself: {way}; take one of these out")),
            None => Planner { world, declaration, planned: &planned }.step(),
        };
        planned.insert(declaration.name.clone(), step.clone());
        steps.push(step);
    }
    for (declaration, file) in twice {
        let step = Step::new(declaration, None, Action::Refuse, format!("the name is declared in {file} already"));
        steps.push(step);
    }
    let wake = steps.iter().filter_map(|step| step.waits.as_ref()?.until).min();
    Plan { steps, wake }
}

fn refusal(world: &World<'_>, declaration: &Declaration, why: String) -> Step {
    Step::new(declaration, world.observed.get(&declaration.name), Action::Refuse, why)
}

/// Containers that were declared once and are no more.
fn orphans(world: &World<'_>, declared: &BTreeMap<&str, &Declaration>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, observed) in world.observed {
        let Some(owner) = observed.owner.as_ref().filter(|_| !declared.contains_key(name.as_str())) else { continue };
        let file = owner.rsplit_once('/').map_or(owner.as_str(), |(file, _)| file);
        let (action, standing, reason) = match world.declared.owner_is_broken(owner) {
            true => (Action::Keep, Standing::Failed, format!("{file} is broken: left as it is")),
            false => (Action::Remove, Standing::Waiting, format!("{file} declares it no more")),
        };
        steps.push(Step {
            name: name.clone(),
            owner: owner.clone(),
            id: Some(observed.id.clone()),
            action,
            reason,
            waits: None,
            standing,
            image: observed.image.clone(),
            again: false,
            restarts: 0,
        });
    }
    steps
}

/// Plans one container, knowing the steps of those it waits for.
struct Planner<'a> {
    world: &'a World<'a>,
    declaration: &'a Declaration,
    planned: &'a BTreeMap<String, Step>,
}

impl Planner<'_> {
    fn step(&self) -> Step {
        let observed = self.world.observed.get(&self.declaration.name);
        let mut step = match observed {
            Some(observed) if self.foreign(observed).is_some() => {
                let why = self.foreign(observed).unwrap_or_default();
                refusal(self.world, self.declaration, why)
            }
            Some(observed) => self.existing(observed),
            None if !self.declaration.enabled => self.make(None, Action::Keep, "it is not enabled"),
            None => self.blocked(self.make(None, Action::Create, "it is not there"), true),
        };
        step.image = self.image();
        step
    }

    fn make(&self, observed: Option<&Observed>, action: Action, reason: impl Into<String>) -> Step {
        Step::new(self.declaration, observed, action, reason)
    }

    fn memory(&self) -> Memory {
        self.world.memories.get(&self.declaration.name).cloned().unwrap_or_default()
    }

    /// The image it is to be made of: what following its tag has come to, or what is written.
    fn image(&self) -> String {
        wanted_image(self.declaration, self.world.memories.get(&self.declaration.name))
    }

    /// Why the container of this name is not ours to change.
    fn foreign(&self, observed: &Observed) -> Option<String> {
        let short = observed.id.get(..12).unwrap_or(&observed.id);
        match &observed.owner {
            None => Some(format!(
                "Conflict. The container name \"/{}\" is already in use by container {short}, which was made by hand; \
                 remove or rename it",
                self.declaration.name
            )),
            Some(owner) if *owner != self.declaration.owner() && self.world.declared.owner_is_broken(owner) => {
                Some(format!("{owner} declared it, and that file is broken now; repair or remove that file"))
            }
            Some(_) => None,
        }
    }

    /// Why the container has to be made anew.
    fn changed(&self, observed: &Observed) -> Option<String> {
        if observed.owner.as_deref() != Some(&self.declaration.owner()) {
            return Some("another file declares it now".to_owned());
        }
        if observed.hash.as_deref() != Some(&self.declaration.hash) {
            return Some("its declaration changed".to_owned());
        }
        if observed.network != self.declaration.network {
            return Some("the network of its group changed".to_owned());
        }
        let image = self.image();
        (self.declaration.update.is_some() && observed.image != image).then(|| match self.memory().image.previous {
            Some(_) => format!("there is a newer image: {image}"),
            None => format!("it goes back to {image}"),
        })
    }

    fn existing(&self, observed: &Observed) -> Step {
        if !self.declaration.enabled {
            return match observed.state {
                Life::Running => self.make(Some(observed), Action::Stop, "it is not enabled"),
                _ => self.make(Some(observed), Action::Keep, "it is not enabled"),
            };
        }
        if let Some(why) = self.changed(observed) {
            let here = self.world.images.get(&self.image()) == Some(&ImageState::Here);
            // It would wait for the others, which may wait for what it holds.
            if here && (observed.network != self.declaration.network || self.requires_what_comes()) {
                return self.make(Some(observed), Action::Remove, why);
            }
            return self.blocked(self.make(Some(observed), Action::Replace, why), true);
        }
        if let Some(step) = self.goes_down_with(observed) {
            return step;
        }
        match observed.state {
            Life::Created => self.blocked(self.make(Some(observed), Action::Start, "it was never started"), false),
            Life::Exited(code) => self.ended(observed, code),
            Life::Running => self.running(observed),
        }
    }

    fn running(&self, observed: &Observed) -> Step {
        match observed.health {
            Some(Health::Unhealthy) if self.declaration.restart_unhealthy => {
                let step = self.make(Some(observed), Action::Restart, "it is unhealthy");
                self.after_failure(step)
            }
            Some(Health::Unhealthy) => {
                Step { standing: Standing::Failed, ..self.make(Some(observed), Action::Keep, "it is unhealthy") }
            }
            Some(Health::Starting) => {
                let step = self.make(Some(observed), Action::Keep, "it runs; its health is not known yet");
                Step { standing: Standing::Waiting, ..step }
            }
            Some(Health::Healthy) => self.make(Some(observed), Action::Keep, "it runs and is healthy"),
            None => self.make(Some(observed), Action::Keep, "it runs"),
        }
    }

    /// Something that it requires is made anew.
    fn requires_what_comes(&self) -> bool {
        let comes =
            |step: &Step| step.is_due() && matches!(step.action, Action::Create | Action::Replace | Action::Remove);
        self.declaration.requires.keys().any(|name| self.planned.get(name).is_some_and(comes))
    }

    /// What it requires goes down in this plan: it goes with it, and comes again after it.
    fn goes_down_with(&self, observed: &Observed) -> Option<Step> {
        let down = |name: &&String| {
            let step = self.planned.get(*name);
            step.is_some_and(|step| {
                step.waits.is_none()
                    && matches!(step.action, Action::Replace | Action::Restart | Action::Stop | Action::Remove)
            })
        };
        let required = self.declaration.requires.keys().find(down)?;
        // Its network is the other's, by that one's id.
        let mode = self.declaration.body.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
        if mode == Some(&format!("container:{required}")) {
            let reason = format!("it has the network of {required}, which goes down");
            return Some(self.make(Some(observed), Action::Remove, reason));
        }
        if observed.state != Life::Running {
            return None;
        }
        let step = self.make(Some(observed), Action::Stop, format!("it requires {required}, which goes down"));
        Some(Step { again: true, ..step })
    }

    fn ended(&self, observed: &Observed, code: i64) -> Step {
        let restart = &self.declaration.restart;
        let memory = self.memory();
        if memory.again {
            let step = self.make(Some(observed), Action::Start, "it was stopped for the sake of another");
            return self.blocked(step, false);
        }
        if restart.policy == Policy::No || (restart.policy == Policy::OnFailure && code == 0) {
            let step = self.make(Some(observed), Action::Keep, format!("it ended with {code}"));
            let standing = if code == 0 { Standing::Ok } else { Standing::Failed };
            return Step { standing, ..step };
        }
        // What a shutdown ended is no failure.
        let other_boot = memory.boot != self.world.boot;
        let lasted = observed.finished.saturating_sub(observed.started);
        let fresh = other_boot || lasted >= millis(restart.reset_after);
        let count = if fresh { 0 } else { memory.restarts };
        if let Some(retries) = restart.retries.filter(|retries| count >= *retries) {
            let reason = format!("it ended with {code}, and {retries} restarts did not help");
            return Step { standing: Standing::Failed, ..self.make(Some(observed), Action::Keep, reason) };
        }
        let delay = if other_boot { 0 } else { delay(millis(restart.delay), millis(restart.max_delay), count) };
        let step = self.make(Some(observed), Action::Start, format!("it ended with {code}"));
        let step = Step { restarts: if other_boot { 0 } else { count + 1 }, ..step };
        let until = observed.finished + delay;
        if until > self.world.now {
            let why = format!("it is restarted for the {} time after a pause", ordinal(count + 1));
            return step.waiting(Some(Waits::until(why, until)));
        }
        self.blocked(step, false)
    }

    /// The step, with what it waits for.
    fn blocked(&self, step: Step, image: bool) -> Step {
        let image = image.then(|| self.image());
        let waits = self.failure().or_else(|| blocked(self.world, self.declaration, self.planned, image.as_deref()));
        step.waiting(waits)
    }

    fn after_failure(&self, step: Step) -> Step {
        step.waiting(self.failure())
    }

    fn failure(&self) -> Option<Waits> {
        let failure = self.world.failures.get(&self.declaration.name)?;
        (failure.until > self.world.now).then(|| Waits { failed: true, ..Waits::until(&failure.why, failure.until) })
    }
}

/// The image a container is to be made of.
pub fn wanted_image(declaration: &Declaration, memory: Option<&Memory>) -> String {
    let followed = memory.map(|memory| &memory.image).filter(|image| image.tag == declaration.image);
    match (&declaration.update, followed.and_then(|image| image.wanted.clone())) {
        (Some(_), Some(wanted)) => wanted,
        _ => declaration.image.clone(),
    }
}

/// The wait before restart number `count` (from 0): doubled each time, up to a limit.
pub fn delay(first: Millis, longest: Millis, count: u32) -> Millis {
    first.saturating_mul(1_u64.checked_shl(count).unwrap_or(u64::MAX)).min(longest)
}

fn millis(duration: std::time::Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ordinal(count: u32) -> String {
    let ending = match (count % 100, count % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{count}{ending}")
}
