//! Owns the decision what to do next, purely: a step, from what is seen.

use keelson_common::provision::Policy;

use super::settings::Settings;
use super::spread;
use super::state::{Attempt, State};
use super::window::{self, Standing};
use super::withdrawn::withdrawn;

/// How often a version is rebooted for that does not come up, before that ends.
const TRIES: u32 = 3;
/// How old the last look for versions may be when a reboot is begun, in seconds: a version that was withdrawn since
/// is not booted, and a server that is away holds the fleet.
const FRESH: u64 = 600;

/// A version that is there to be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The commit.
    pub checksum: String,
    /// Its version.
    pub label: String,
    /// When it was made, in seconds since the epoch.
    pub made: u64,
    /// The refspec that it came from.
    pub refspec: Option<String>,
}

/// A person who wants the newest version now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Whether also out of its turn and out of windows.
    pub at_once: bool,
}

/// What is seen.
#[derive(Debug, Clone)]
pub struct Observed<'a> {
    /// The present moment, in seconds since the epoch.
    pub now: u64,
    /// When whoever asks began.
    pub started: u64,
    /// The kernel's id of this boot.
    pub boot_id: &'a str,
    /// This host's id.
    pub machine: &'a str,
    /// What the host was told.
    pub settings: &'a Settings,
    /// What is known from before.
    pub state: &'a State,
    /// The commit that runs.
    pub booted: &'a str,
    /// What is staged.
    pub staged: Option<Candidate>,
    /// The commits that were given up as unhealthy.
    pub given_up: &'a [String],
    /// The commit that somebody rolled back from.
    pub left: Option<&'a str>,
    /// Whether the host is healthy, where somebody looked.
    pub healthy: Option<bool>,
    /// Whether the host is a node of a cluster.
    pub node: bool,
    /// Who wants it now.
    pub demand: Option<Demand>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Look whether the host is healthy: what an earlier boot took is given back then.
    AwaitHealth,
    /// Uncordon, and release the lock.
    GiveBack(Ended),
    /// Nothing, unless somebody asks.
    Rest,
    /// Look for versions, and have the newest one staged.
    Check,
    /// Nothing before this.
    Wait {
        /// When to look again, in seconds since the epoch.
        until: u64,
        /// What for.
        why: Why,
    },
    /// Ask for the reboot lock.
    Lock,
    /// Have the pods go.
    Drain,
    /// Reboot.
    Reboot,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The host was rebooted, and is healthy.
    Booted,
    /// What it was for is staged no more.
    Gone,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The next look for versions: nothing is staged.
    NextCheck,
    /// A newer version than this, which was given up.
    GivenUp(String),
    /// A newer version than this, which was rebooted for in vain.
    Tried(String),
    /// A newer version than this, which somebody rolled back from.
    RolledBack(String),
    /// Another version than this, which its ref does not hold any more.
    Withdrawn(String),
    /// This host's turn.
    Turn(u64),
    /// A window; none ever opens where there is no moment.
    Window(Option<u64>),
    /// Another try, after this did not work out.
    Retry(String),
}

/// Finds the next step.
pub fn next(seen: &Observed<'_>) -> Step {
    if let Some(attempt) = &seen.state.attempt {
        return go_on(seen, attempt);
    }
    let (settings, state, demand) = (seen.settings, seen.state, seen.demand);
    if settings.policy == Policy::Manual && demand.is_none() {
        return Step::Rest;
    }
    if let Some(retry) = state.retry.as_ref().filter(|retry| demand.is_none() && retry.waits(seen.now)) {
        return Step::Wait { until: retry.after, why: Why::Retry(retry.problem.clone()) };
    }
    // A clock that was set back does not put a check off for years: neither a last one nor a start that are ahead
    // of it count.
    let last = state.checked.as_ref().map(|checked| checked.time).filter(|time| *time <= seen.now);
    let started = if seen.started <= seen.now { seen.started } else { 0 };
    let check = spread::next_check(last, started, settings.check_every, seen.machine);
    if demand.is_none() && seen.now >= check {
        return Step::Check;
    }
    let wait = |why: Why| Step::Wait { until: check, why };
    let Some(staged) = seen.staged.as_ref().filter(|staged| staged.checksum != seen.booted) else {
        return if demand.is_some() { Step::Check } else { wait(Why::NextCheck) };
    };
    match demand {
        None if seen.given_up.contains(&staged.checksum) => wait(Why::GivenUp(staged.label.clone())),
        None if tried_out(state, &staged.checksum) => wait(Why::Tried(staged.label.clone())),
        None if seen.left == Some(&staged.checksum) => wait(Why::RolledBack(staged.label.clone())),
        None if withdrawn(state, staged) => wait(Why::Withdrawn(staged.label.clone())),
        _ => match when_due(seen, staged, check) {
            None if demand.is_none() && last.is_none_or(|last| last + FRESH < seen.now) => Step::Check,
            None => take(seen, None),
            Some(wait) => wait,
        },
    }
}

/// The wait for the turn of this host and for a window; none when both have come.
fn when_due(seen: &Observed<'_>, staged: &Candidate, check: u64) -> Option<Step> {
    let sooner = |moment: u64| if seen.demand.is_some() { moment } else { moment.min(check) };
    if seen.demand.is_some_and(|demand| demand.at_once) {
        return None;
    }
    // A version may be published long after it was made. What a clock noted which was ahead counts as now.
    let since = seen.state.staged_since(&staged.checksum).unwrap_or(seen.now).min(seen.now);
    let turn = spread::turn(staged.made.max(since), seen.settings.spread, seen.machine, &staged.checksum);
    if seen.now < turn {
        return Some(Step::Wait { until: sooner(turn), why: Why::Turn(turn) });
    }
    if seen.settings.policy == Policy::Windows
        && let Standing::Closed { next } = window::standing(&seen.settings.windows, seen.now)
    {
        return Some(Step::Wait { until: next.map_or(check, sooner), why: Why::Window(next) });
    }
    None
}

/// Goes on with an attempt, or gives back what it took.
fn go_on(seen: &Observed<'_>, attempt: &Attempt) -> Step {
    if attempt.boot_id != seen.boot_id {
        return match seen.healthy {
            Some(true) => Step::GiveBack(Ended::Booted),
            _ => Step::AwaitHealth,
        };
    }
    match &seen.staged {
        // What a person began and left is theirs to go on with.
        Some(staged) if staged.checksum == attempt.checksum => match (seen.settings.policy, seen.demand) {
            (Policy::Manual, None) => Step::Rest,
            _ => take(seen, Some(attempt)),
        },
        _ => Step::GiveBack(Ended::Gone),
    }
}

/// What is to be done yet before the reboot.
fn take(seen: &Observed<'_>, attempt: Option<&Attempt>) -> Step {
    let wants_lock = attempt.map_or(seen.settings.lock.is_some(), |attempt| attempt.lock.is_some());
    if wants_lock && !attempt.is_some_and(|attempt| attempt.locked) {
        return Step::Lock;
    }
    if seen.node && !attempt.is_some_and(|attempt| attempt.drained) {
        return Step::Drain;
    }
    Step::Reboot
}

fn tried_out(state: &State, checksum: &str) -> bool {
    state.tried.as_ref().is_some_and(|tried| tried.checksum == checksum && tried.count >= TRIES)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::update::settings::Lock;
    use crate::update::state::{Checked, Head, Retry, Staged, Tried};

    const NOW: u64 = 1_790_000_000;

    fn settings(update: Value) -> Settings {
        Settings::new(&keelson_common::provision::from_value(&json!({ "update": update })).unwrap()).unwrap()
    }

    fn candidate(checksum: &str) -> Candidate {
        Candidate {
            checksum: checksum.into(),
            label: format!("v{checksum}"),
            made: NOW - 10,
            refspec: Some("keelson:host".into()),
        }
    }

    fn checked() -> State {
        State { checked: Some(Checked { time: NOW - 60, ..Checked::default() }), ..State::default() }
    }

    fn seen<'a>(settings: &'a Settings, state: &'a State) -> Observed<'a> {
        Observed {
            now: NOW,
            started: 0,
            boot_id: "now",
            machine: "m",
            settings,
            state,
            booted: "1",
            staged: Some(candidate("2")),
            given_up: &[],
            left: None,
            healthy: None,
            node: false,
            demand: None,
        }
    }

    fn waits(step: &Step) -> &Why {
        match step {
            Step::Wait { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_host_goes_the_whole_way() {
        let settings = settings(json!({ "policy": "immediate", "lock": { "cluster": true } }));
        let mut state = State::default();
        let node = |state: &State| next(&Observed { node: true, ..seen(&settings, state) });
        assert_eq!(node(&state), Step::Check);
        state.checked = checked().checked;
        assert_eq!(node(&state), Step::Lock);
        let attempt =
            Attempt { boot_id: "now".into(), checksum: "2".into(), lock: settings.lock.clone(), ..Attempt::default() };
        state.attempt = Some(attempt.clone());
        assert_eq!(node(&state), Step::Lock, "ended before the answer: asked again");
        state.attempt = Some(Attempt { locked: true, ..attempt.clone() });
        assert_eq!(node(&state), Step::Drain);
        state.attempt = Some(Attempt { locked: true, draining: true, ..attempt.clone() });
        assert_eq!(node(&state), Step::Drain, "ended while pods went: they go on");
        state.attempt = Some(Attempt { locked: true, draining: true, drained: true, ..attempt });
        assert_eq!(node(&state), Step::Reboot);
        // Up again, in the new version or in the old one.
        for booted in ["1", "2"] {
            let after = Observed { boot_id: "next", booted, staged: None, ..seen(&settings, &state) };
            assert_eq!(next(&after), Step::AwaitHealth);
            assert_eq!(next(&Observed { healthy: Some(false), ..after.clone() }), Step::AwaitHealth);
            assert_eq!(next(&Observed { healthy: Some(true), ..after }), Step::GiveBack(Ended::Booted));
        }
    }

    #[test]
    fn without_lock_and_cluster_it_just_reboots() {
        let (settings, state) = (settings(json!({ "policy": "immediate" })), checked());
        assert_eq!(next(&seen(&settings, &state)), Step::Reboot);
    }

    #[test]
    fn manual_gives_back_and_does_nothing_more() {
        let settings = settings(json!({ "lock": { "cluster": true } }));
        let mut state = checked();
        assert_eq!(next(&seen(&settings, &state)), Step::Rest);
        state.attempt = Some(Attempt { boot_id: "before".into(), locked: true, ..Attempt::default() });
        let after = Observed { healthy: Some(true), ..seen(&settings, &state) };
        assert_eq!(next(&after), Step::GiveBack(Ended::Booted));
        // What a person began and left in this boot is theirs to end.
        let attempt = Attempt { boot_id: "now".into(), checksum: "2".into(), ..Attempt::default() };
        state.attempt = Some(attempt);
        assert_eq!(next(&seen(&settings, &state)), Step::Rest);
        let person = Observed { demand: Some(Demand { at_once: true }), ..seen(&settings, &state) };
        assert_eq!(next(&person), Step::Reboot);
    }

    #[test]
    fn what_is_staged_no_more_is_not_rebooted_for() {
        let (settings, mut state) = (settings(json!({ "policy": "immediate" })), checked());
        state.attempt = Some(Attempt { boot_id: "now".into(), checksum: "2".into(), ..Attempt::default() });
        for staged in [None, Some(candidate("3"))] {
            let changed = Observed { staged, ..seen(&settings, &state) };
            assert_eq!(next(&changed), Step::GiveBack(Ended::Gone));
        }
    }

    #[test]
    fn what_was_given_up_or_does_not_boot_is_left_alone() {
        let (settings, mut state) = (settings(json!({ "policy": "immediate" })), checked());
        let given_up = ["2".to_owned()];
        let seen_given_up = Observed { given_up: &given_up, ..seen(&settings, &state) };
        assert_eq!(waits(&next(&seen_given_up)), &Why::GivenUp("v2".into()));
        let person = Observed { demand: Some(Demand { at_once: false }), ..seen_given_up };
        assert_eq!(next(&person), Step::Reboot, "a person may");
        state.tried = Some(Tried { checksum: "2".into(), count: 3 });
        assert_eq!(waits(&next(&seen(&settings, &state))), &Why::Tried("v2".into()));
        // The same version with other kernel arguments is no new one.
        let again = Observed { booted: "2", ..seen(&settings, &state) };
        assert_eq!(waits(&next(&again)), &Why::NextCheck);
    }

    #[test]
    fn what_a_person_rolled_back_from_is_left_alone() {
        let (settings, state) = (settings(json!({ "policy": "immediate" })), checked());
        let back = Observed { left: Some("2"), ..seen(&settings, &state) };
        assert_eq!(waits(&next(&back)), &Why::RolledBack("v2".into()));
        let person = Observed { demand: Some(Demand { at_once: false }), ..back.clone() };
        assert_eq!(next(&person), Step::Reboot, "a person may");
        let newer = Observed { staged: Some(candidate("3")), ..back };
        assert_eq!(next(&newer), Step::Reboot);
    }

    #[test]
    fn what_its_ref_does_not_hold_any_more_is_left_alone() {
        let settings = settings(json!({ "policy": "immediate" }));
        let looked = |refspec: &str, checksum: &str| {
            let head = Some(Head { refspec: refspec.into(), checksum: checksum.into() });
            let checked = Some(Checked { time: NOW - 60, head, ..Checked::default() });
            State { checked, staged: Some(Staged { checksum: "2".into(), since: NOW - 600 }), ..State::default() }
        };
        let mut state = looked("keelson:host", "1");
        assert_eq!(waits(&next(&seen(&settings, &state))), &Why::Withdrawn("v2".into()));
        let person = Observed { demand: Some(Demand { at_once: false }), ..seen(&settings, &state) };
        assert_eq!(next(&person), Step::Reboot, "a person may");
        // The same version with other kernel arguments, and what is staged from another ref.
        let again = Observed { booted: "2", ..seen(&settings, &state) };
        assert_eq!(waits(&next(&again)), &Why::NextCheck);
        let rebased = Candidate { refspec: Some("keelson:next".into()), ..candidate("2") };
        assert_eq!(next(&Observed { staged: Some(rebased), ..seen(&settings, &state) }), Step::Reboot);
        assert_eq!(next(&seen(&settings, &looked("keelson:host", "2"))), Step::Reboot);
        // Staged by a person after the last look.
        state.staged = Some(Staged { checksum: "2".into(), since: NOW - 60 });
        assert_eq!(next(&seen(&settings, &state)), Step::Reboot);
        state.staged = None;
        assert_eq!(next(&seen(&settings, &state)), Step::Reboot);
    }

    #[test]
    fn a_reboot_begins_only_after_a_fresh_look() {
        let settings = settings(json!({ "policy": "immediate", "lock": { "cluster": true }, "check-every": "6h" }));
        let looked =
            |ago: u64| State { checked: Some(Checked { time: NOW - ago, ..Checked::default() }), ..State::default() };
        assert_eq!(next(&seen(&settings, &looked(FRESH))), Step::Lock);
        let state = looked(FRESH + 1);
        assert_eq!(next(&seen(&settings, &state)), Step::Check, "withdrawn since, perhaps");
        let person = Observed { demand: Some(Demand { at_once: false }), ..seen(&settings, &state) };
        assert_eq!(next(&person), Step::Lock, "a person has looked");
        // What was begun goes on: the lock is held.
        let attempt = Attempt { boot_id: "now".into(), checksum: "2".into(), ..Attempt::default() };
        assert_eq!(next(&seen(&settings, &State { attempt: Some(attempt), ..state })), Step::Reboot);
    }

    #[test]
    fn turns_windows_and_failures_are_waited_for() {
        let told = json!({ "policy": "windows", "windows": [{ "start": "03:00", "length": "1h" }] });
        let (mut settings, mut state) = (settings(told), checked());
        // NOW is 2026-09-21T14:13:20Z.
        assert!(matches!(waits(&next(&seen(&settings, &state))), Why::Window(Some(_))));
        let open = Observed { now: NOW + 46_000, started: NOW + 46_000, ..seen(&settings, &state) };
        let mut late = state.clone();
        late.checked = Some(Checked { time: NOW + 45_990, ..Checked::default() });
        assert_eq!(next(&Observed { state: &late, ..open }), Step::Reboot, "03:00 the next day");
        settings.spread = Duration::from_secs(86_400);
        let Step::Wait { until, why: Why::Turn(turn) } = next(&seen(&settings, &state)) else { panic!("no turn") };
        assert!(until <= turn && turn > NOW);
        let at_once =
            |state: &State| next(&Observed { demand: Some(Demand { at_once: true }), ..seen(&settings, state) });
        assert_eq!(at_once(&state), Step::Reboot);
        let patient = Observed { demand: Some(Demand { at_once: false }), ..seen(&settings, &state) };
        assert_eq!(next(&patient), Step::Wait { until: turn, why: Why::Turn(turn) });
        state.retry = Some(Retry { after: NOW + 5, count: 1, problem: "held".into() });
        assert_eq!(next(&seen(&settings, &state)), Step::Wait { until: NOW + 5, why: Why::Retry("held".into()) });
        assert_eq!(at_once(&state), Step::Reboot);
    }

    #[test]
    fn a_turn_counts_from_when_this_host_has_the_version() {
        let (mut settings, mut state) = (settings(json!({ "policy": "immediate" })), checked());
        settings.spread = Duration::from_secs(86_400);
        // It was published two days after it was made.
        let staged = Candidate { made: NOW - 2 * 86_400, ..candidate("2") };
        let turn = |state: &State| match next(&Observed { staged: Some(staged.clone()), ..seen(&settings, state) }) {
            Step::Wait { why: Why::Turn(turn), .. } => turn,
            other => panic!("{other:?}"),
        };
        let from = |moment: u64| spread::turn(moment, settings.spread, "m", "2");
        assert_eq!(turn(&state), from(NOW));
        state.note_staged("2", NOW - 5);
        assert_eq!(turn(&state), from(NOW - 5));
        state.staged = Some(Staged { checksum: "2".into(), since: NOW + 300_000_000 });
        assert_eq!(turn(&state), from(NOW), "the clock was ahead");
        // A commit that was made after it was staged counts from then: a clock was behind.
        state.staged = Some(Staged { checksum: "2".into(), since: 5 });
        let made = Observed { staged: Some(candidate("2")), ..seen(&settings, &state) };
        assert_eq!(waits(&next(&made)), &Why::Turn(from(NOW - 10)));
    }

    #[test]
    fn a_person_has_something_staged_first() {
        let (settings, state) = (settings(json!({})), checked());
        let none = Observed { staged: None, demand: Some(Demand { at_once: false }), ..seen(&settings, &state) };
        assert_eq!(next(&none), Step::Check);
        let locked = Settings { lock: Some(Lock::Cluster { slots: 1 }), ..settings.clone() };
        let staged = Observed { demand: Some(Demand { at_once: false }), ..seen(&locked, &state) };
        assert_eq!(next(&staged), Step::Lock);
    }

    #[test]
    fn a_clock_that_went_back_does_not_stop_checks() {
        let settings = settings(json!({ "policy": "immediate" }));
        let state =
            State { checked: Some(Checked { time: NOW + 9_000_000, ..Checked::default() }), ..State::default() };
        assert_eq!(next(&seen(&settings, &state)), Step::Check);
        assert_eq!(next(&Observed { started: NOW + 9_000_000, ..seen(&settings, &state) }), Step::Check, "its start");
        // What failed at that time is not waited with for years, either.
        let retry = Some(Retry { after: NOW + 9_000_000, count: 1, problem: "a certificate has expired".into() });
        let state = State { retry, ..State::default() };
        assert_eq!(next(&seen(&settings, &state)), Step::Check);
    }
}
