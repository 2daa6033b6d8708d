//! `keelctl updates`: the policy, the next step, and what it waits for.

use std::fmt::Write;

use keelson_common::provision::Policy;
use serde::Serialize;

use super::super::print;
use super::agent::{Agent, Seen};
use crate::health::record::GivenUp;
use crate::model::time::rfc3339;
use crate::update::decide::{Ended, Why};
use crate::update::{Lock, Step, next};

/// The document of `keelctl updates --json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    /// `immediate`, `windows` or `manual`.
    policy: Policy,
    /// The refspec that is followed.
    #[serde(rename = "ref")]
    refspec: Option<String>,
    /// The version that runs.
    booted: Option<String>,
    /// The version that is staged.
    staged: Option<String>,
    /// What is done next.
    next: Next,
    /// Who is asked before a reboot.
    lock: Option<Lock>,
    /// As whom a FleetLock server is asked.
    id: String,
    /// The reboot that is under way.
    attempt: Option<Attempt>,
    /// The last look for versions.
    checked: Option<Checked>,
    /// Why something is tried again.
    problem: Option<String>,
    /// The versions that were given up for the one that runs.
    given_up: Vec<GivenUp>,
}

#[derive(Debug, Serialize)]
struct Next {
    /// `rest`, `wait`, `check`, `lock`, `drain`, `reboot`, `await-health` or `give-back`.
    step: &'static str,
    /// It in words.
    message: String,
    /// When to look again, where it waits.
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct Attempt {
    version: String,
    since: String,
    locked: bool,
    drained: bool,
}

#[derive(Debug, Serialize)]
struct Checked {
    time: String,
    message: String,
}

/// Runs the verb.
pub async fn run(agent: &Agent) -> anyhow::Result<()> {
    let seen = agent.look(None).await?;
    let document = document(agent, &seen);
    if agent.json { print::document(&document) } else { print::line(&text(&document)) }
}

fn document(agent: &Agent, seen: &Seen) -> Document {
    let step = next(&agent.observed(seen));
    let until = match &step {
        Step::Wait { until, .. } => Some(rfc3339(*until)),
        _ => None,
    };
    let (booted, state) = (seen.status.booted.as_ref(), &seen.state);
    let given_up = seen.record.given_up_for(booted.map_or("", |booted| &booted.checksum));
    Document {
        policy: agent.settings.policy,
        refspec: seen.status.next_boot().and_then(|deployment| deployment.refspec.clone()),
        booted: booted.map(|booted| booted.label().to_owned()),
        staged: seen.status.staged.as_ref().map(|staged| staged.label().to_owned()),
        next: Next { step: word(&step), message: describe(&step), until },
        lock: agent.settings.lock.clone(),
        id: agent.machine.clone(),
        attempt: state.attempt.as_ref().map(|attempt| Attempt {
            version: attempt.label.clone(),
            since: rfc3339(attempt.since),
            locked: attempt.locked,
            drained: attempt.drained,
        }),
        checked: state
            .checked
            .as_ref()
            .map(|checked| Checked { time: rfc3339(checked.time), message: checked.message.clone() }),
        problem: state.retry.as_ref().map(|retry| retry.problem.clone()),
        given_up: given_up.cloned().collect(),
    }
}

fn text(document: &Document) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<10} {value}");
    };
    row(
        "Policy",
        match document.policy {
            Policy::Immediate => "immediate: goes over to a new version at once",
            Policy::Windows => "windows: goes over to a new version in windows of time",
            Policy::Manual => "manual: goes over to a new version when somebody says so",
        },
    );
    row("Follows", document.refspec.as_deref().unwrap_or("nothing"));
    row("Runs", document.booted.as_deref().unwrap_or("nothing"));
    row("Staged", document.staged.as_deref().unwrap_or("nothing"));
    row("Next", &document.next.message);
    match &document.lock {
        Some(lock @ Lock::Fleetlock { .. }) => row("Lock", &format!("{lock}, as {}", document.id)),
        Some(lock) => row("Lock", &lock.to_string()),
        None => {}
    }
    if let Some(attempt) = &document.attempt {
        let had = match (attempt.locked, attempt.drained) {
            (_, true) => ", its pods are gone",
            (true, false) => ", it has the lock",
            _ => "",
        };
        row("Reboot", &format!("under way since {}, into {}{had}", attempt.since, attempt.version));
    }
    if let Some(checked) = &document.checked {
        row("Checked", &format!("{}: {}", checked.time, checked.message));
    }
    if let Some(problem) = &document.problem {
        row("Problem", problem);
    }
    for given_up in &document.given_up {
        row("Given up", &given_up.sentence());
    }
    out
}

fn word(step: &Step) -> &'static str {
    match step {
        Step::AwaitHealth => "await-health",
        Step::GiveBack(_) => "give-back",
        Step::Rest => "rest",
        Step::Check => "check",
        Step::Wait { .. } => "wait",
        Step::Lock => "lock",
        Step::Drain => "drain",
        Step::Reboot => "reboot",
    }
}

/// A step in words.
pub fn describe(step: &Step) -> String {
    match step {
        Step::AwaitHealth => "waits until this host is healthy, then gives back what it took for the reboot".to_owned(),
        Step::GiveBack(Ended::Booted) => "gives back what it took for the reboot".to_owned(),
        Step::GiveBack(Ended::Gone) => "gives back what it took, as nothing is staged any more".to_owned(),
        Step::Rest => {
            "does nothing by itself; `keelctl upgrade` stages a version, `keelctl updates apply` boots it".to_owned()
        }
        Step::Check => "looks for a newer version".to_owned(),
        Step::Lock => "asks for the reboot lock".to_owned(),
        Step::Drain => "has the pods of this node go".to_owned(),
        Step::Reboot => "reboots".to_owned(),
        Step::Wait { until, why } => waiting(*until, why),
    }
}

/// Why a version is not gone over to that somebody rolled back from.
pub fn rolled_back_from(label: &str) -> String {
    format!("{label} was rolled back from; `keelctl updates apply` goes over to it all the same")
}

fn waiting(until: u64, why: &Why) -> String {
    let until = rfc3339(until);
    match why {
        Why::NextCheck => format!("waits until {until}, then looks for a newer version"),
        Why::GivenUp(label) => format!("waits for a newer version than {label}, which was given up as unhealthy"),
        Why::Tried(label) => {
            format!("waits for a newer version than {label}, which did not come up; `keelctl history` shows why")
        }
        Why::RolledBack(label) => {
            format!("waits for a newer version than {label}: {}", rolled_back_from(label))
        }
        Why::Withdrawn(label) => format!(
            "waits for another version than {label}, which is staged and was withdrawn: its ref does not hold it any \
            more; `keelctl cleanup --pending` drops it, `keelctl updates apply` goes over to it all the same"
        ),
        Why::Turn(turn) => format!("waits for its turn in the fleet, at {}", rfc3339(*turn)),
        Why::Window(Some(opens)) => format!("waits for a window, which opens at {}", rfc3339(*opens)),
        Why::Window(None) => "waits for a window, of which none opens".to_owned(),
        Why::Retry(problem) => format!("tries again at {until}: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_is_waited_for() {
        let document = Document {
            policy: Policy::Windows,
            refspec: Some("keelson:keelson/host".into()),
            booted: Some("1.0".into()),
            staged: Some("1.1".into()),
            next: Next {
                step: "wait",
                message: describe(&Step::Wait { until: 0, why: Why::Window(Some(3600)) }),
                until: None,
            },
            lock: Some(Lock::Cluster { slots: 1 }),
            id: "0b1c".into(),
            attempt: None,
            checked: Some(Checked { time: "then".into(), message: "1.1 is staged.".into() }),
            problem: None,
            given_up: vec![GivenUp { version: Some("1.2".into()), why: vec!["x".into()], ..GivenUp::default() }],
        };
        let text = text(&document);
        assert!(text.contains("Next       waits for a window, which opens at 1970-01-01T01:00:00Z\n"), "{text}");
        assert!(text.contains("Lock       the cluster's one lock\n"), "{text}");
        assert!(text.contains("Given up   Version 1.2 was given up"), "{text}");
        let withdrawn = Step::Wait { until: 0, why: Why::Withdrawn("1.1".into()) };
        assert!(describe(&withdrawn).starts_with("waits for another version than 1.1") && word(&withdrawn) == "wait");
        let back = describe(&Step::Wait { until: 0, why: Why::RolledBack("1.1".into()) });
        assert!(back.contains("1.1 was rolled back from; `keelctl updates apply` goes over to it"), "{back}");
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!((json["policy"].as_str(), json["next"]["step"].as_str()), (Some("windows"), Some("wait")));
    }
}
