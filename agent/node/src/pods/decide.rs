//! Owns what is done next about a pod that shall run: a pure function of its shape, of what containerd
//! says and of what is remembered.

use std::collections::{BTreeMap, HashMap};

use super::observe::{Observed, Seen};
use super::shape::{Policy, Shape};
use super::{ContainerKind, Member};
use crate::cri::v1::ContainerState;
use crate::probes::Findings;

/// The exit code of what is killed.
const KILLED: i32 = 137;

/// What is remembered of containers between two looks.
#[derive(Debug, Default)]
pub struct Known {
    /// What probes say, by container id.
    pub findings: HashMap<String, Findings>,
    /// Containers whose `postStart` hook has not ended: with them the pod does not go on.
    pub starting: Vec<String>,
    /// Containers being stopped.
    pub stopping: Vec<String>,
    /// Containers that must be started again although they run, and why.
    pub replace: HashMap<String, String>,
    /// For how many seconds a container waits still before it is started, its whole wait, by name.
    pub waits: HashMap<String, (i64, i64)>,
    /// For how many seconds nothing is tried about a container, by name, after an attempt failed.
    pub retries: HashMap<String, i64>,
}

/// A container to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// containerd's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why, for people.
    pub message: String,
    /// The grace period, in seconds, of the probe that says so, when it has one of its own.
    pub grace: Option<i64>,
}

/// What is done next.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Make a sandbox, of this number, after ending what is left in older ones.
    pub sandbox: Option<u32>,
    /// Start these, in this order: names.
    pub start: Vec<String>,
    /// Stop these.
    pub kill: Vec<Kill>,
    /// Waiting to be started again: name → `(seconds left, whole wait)`.
    pub backoff: BTreeMap<String, (i64, i64)>,
    /// All is done that there was to do: sidecars are to be ended, the pod is over.
    pub finished: bool,
    /// Look again after as many seconds, if nothing else happens.
    pub again: Option<i64>,
}

/// Decides.
pub fn plan(shape: &Shape, observed: &Observed, known: &Known) -> Plan {
    let mut plan = Plan::default();
    if observed.sandbox().is_none() {
        return without_sandbox(shape, observed, known);
    }
    for member in &shape.ephemeral {
        if observed.latest(&member.spec.name).is_none() {
            start(&mut plan, known, &member.spec.name);
        }
    }
    if !initialize(shape, observed, known, &mut plan) {
        return plan;
    }
    let mut kept = 0;
    for member in &shape.app {
        // A hook that has not ended holds up what comes after.
        if apps_wait(shape, observed, known, member) {
            kept += 1;
            break;
        }
        kept += usize::from(container(shape, observed, known, member, &mut plan));
    }
    let ephemeral = |name: &String| shape.ephemeral.iter().any(|member| member.spec.name == *name);
    if kept == 0 && plan.kill.is_empty() && plan.start.iter().all(ephemeral) && plan.backoff.is_empty() {
        plan.finished = true;
        plan.start.clear();
    }
    plan
}

fn apps_wait(shape: &Shape, observed: &Observed, known: &Known, member: &Member) -> bool {
    let before = shape.app.iter().take_while(|other| other.spec.name != member.spec.name);
    let mut before = before.filter_map(|other| observed.current(&other.spec.name));
    before.any(|seen| seen.running() && known.starting.contains(&seen.id))
}

/// There is no sandbox, or it is gone.
fn without_sandbox(shape: &Shape, observed: &Observed, known: &Known) -> Plan {
    let attempt = observed.sandboxes.first().map_or(0, |sandbox| sandbox.attempt + 1);
    let created = |member: &Member| observed.latest(&member.spec.name).is_some();
    let done = shape.app.iter().all(|member| {
        observed.latest(&member.spec.name).is_some_and(|seen| seen.exited() && !shape.restarts(member, code(seen)))
    });
    let over = (shape.policy() == Policy::Never && attempt != 0 && shape.all().any(created))
        || (!shape.app.is_empty() && done);
    if over {
        return Plan { finished: true, ..Plan::default() };
    }
    match known.retries.get("") {
        Some(seconds) => Plan { again: Some(*seconds), ..Plan::default() },
        None => Plan { sandbox: Some(attempt), ..Plan::default() },
    }
}

/// Brings init containers on; true when app containers may start.
fn initialize(shape: &Shape, observed: &Observed, known: &Known, plan: &mut Plan) -> bool {
    let initialized = shape
        .app
        .iter()
        .any(|member| observed.current(&member.spec.name).is_some_and(|seen| seen.status.started_at > 0));
    for member in &shape.init {
        let name = &member.spec.name;
        let seen = observed.current(name);
        if member.kind == ContainerKind::Sidecar {
            let running = container(shape, observed, known, member, plan);
            let started = seen.is_some_and(|seen| {
                seen.running()
                    && !known.starting.contains(&seen.id)
                    && known.findings.get(&seen.id).is_some_and(|findings| findings.started)
            });
            if !(initialized || running && started) {
                return false;
            }
            continue;
        }
        if initialized {
            continue;
        }
        match seen {
            None => {
                start(plan, known, name);
                return false;
            }
            Some(seen) if seen.exited() && code(seen) == 0 => {}
            Some(seen) if seen.exited() && !shape.restarts(member, code(seen)) => {
                plan.finished = true;
                plan.start.clear();
                return false;
            }
            Some(_) => {
                container(shape, observed, known, member, plan);
                return false;
            }
        }
    }
    true
}

/// Decides about one container; true when it runs, or will without more being done.
fn container(shape: &Shape, observed: &Observed, known: &Known, member: &Member, plan: &mut Plan) -> bool {
    let name = &member.spec.name;
    let Some(seen) = observed.current(name) else {
        // Of a former sandbox, and done.
        let former = observed.latest(name).filter(|seen| seen.exited());
        if former.is_some_and(|seen| !shape.restarts(member, code(seen))) {
            return false;
        }
        start(plan, known, name);
        return true;
    };
    if known.stopping.contains(&seen.id) {
        return true;
    }
    match seen.state {
        ContainerState::ContainerRunning => {
            if let Some(kill) = kill(shape, member, known, seen) {
                plan.kill.push(kill);
            }
            true
        }
        ContainerState::ContainerExited if !shape.restarts(member, code(seen)) => false,
        ContainerState::ContainerExited => {
            match known.waits.get(name) {
                Some(wait) => {
                    plan.backoff.insert(name.clone(), *wait);
                    again(plan, wait.0);
                }
                None => start(plan, known, name),
            }
            true
        }
        // Made and not started, which a crash in between leaves: made anew.
        _ => {
            start(plan, known, name);
            true
        }
    }
}

fn kill(shape: &Shape, member: &Member, known: &Known, seen: &Seen) -> Option<Kill> {
    let kill = |message: String, grace| Kill { id: seen.id.clone(), name: seen.name.clone(), message, grace };
    if let Some(message) = known.replace.get(&seen.id) {
        return Some(kill(message.clone(), None));
    }
    let findings = known.findings.get(&seen.id)?;
    let why = findings.kill.as_ref()?;
    let then = if shape.restarts(member, KILLED) { ", will be restarted" } else { "" };
    Some(kill(format!("{why}{then}"), findings.grace))
}

fn start(plan: &mut Plan, known: &Known, name: &str) {
    match known.retries.get(name) {
        Some(seconds) => again(plan, *seconds),
        None => plan.start.push(name.to_owned()),
    }
}

fn again(plan: &mut Plan, seconds: i64) {
    plan.again = Some(plan.again.map_or(seconds, |before| before.min(seconds)));
}

fn code(seen: &Seen) -> i32 {
    seen.status.exit_code
}

#[cfg(test)]
mod tests;
