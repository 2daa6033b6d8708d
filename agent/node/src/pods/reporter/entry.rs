//! Owns [`Entry`], what is remembered of one pod's status: what the API has, what it shall have. Pure.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Target;
use super::patch::difference;

/// Between two repairs of what somebody else makes of a status again and again.
const REPAIR: Duration = Duration::from_secs(1);

/// What is written next.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The pod in the API.
    pub target: Target,
    /// Its status afterwards.
    pub wanted: Value,
    /// What is sent for that.
    pub patch: Value,
}

/// What is remembered of one pod's status.
#[derive(Debug, Default)]
pub struct Entry {
    /// The UID of the pod in the API: for a static pod of its mirror, which may be made anew.
    target: String,
    /// What the API has, as far as known.
    written: Value,
    /// Since which version it has that.
    version: Option<u64>,
    /// What the API showed while something was being written, and of which version that is.
    seen: Option<(Option<u64>, Value)>,
    /// What it shall have.
    wanted: Option<(Target, Value)>,
    /// Somebody writes.
    busy: bool,
    /// The pod is not in the API any more.
    gone: bool,
    /// Somebody else has changed what is this node's to say.
    disputed: bool,
    /// When something was written last.
    at: Option<Instant>,
}

impl Entry {
    /// The API showed this status of the pod `target`.
    pub fn saw(&mut self, target: &str, version: Option<u64>, status: Value) {
        self.aim(target);
        // Whoever said that it is not there may have been something in front of the API.
        self.gone = false;
        if self.busy {
            self.seen = Some((version, status));
        } else {
            self.take(version, status);
        }
    }

    /// The API shall have this status. True when there is something to write and nobody does.
    pub fn want(&mut self, target: Target, status: Value) -> bool {
        self.aim(&target.uid);
        if self.gone || (self.wanted.is_none() && difference(&self.written, &status).is_none()) {
            return false;
        }
        self.wanted = Some((target, status));
        !std::mem::replace(&mut self.busy, true)
    }

    /// What is to be written; when there is nothing, whoever wrote is done.
    pub fn due(&mut self) -> Option<Write> {
        if let Some((version, status)) = self.seen.take() {
            self.take(version, status);
        }
        let write = self.wanted.as_ref().and_then(|(target, wanted)| {
            let patch = difference(&self.written, wanted)?;
            Some(Write { target: target.clone(), wanted: wanted.clone(), patch })
        });
        if write.is_none() {
            self.wanted = None;
            self.busy = false;
        }
        write
    }

    /// A status was written, which made the pod `target` be of that version.
    pub fn done(&mut self, target: &str, written: Value, version: Option<u64>) {
        if self.target == target {
            self.written = written;
            self.version = version;
            self.disputed = false;
            self.at = Some(Instant::now());
        }
    }

    /// The pod `target` is not in the API. False when another one has taken its place since.
    pub fn lost(&mut self, target: &str) -> bool {
        let lost = self.target == target;
        if lost {
            *self = Self { target: std::mem::take(&mut self.target), gone: true, ..Self::default() };
        }
        lost
    }

    /// Whether the API has what it shall have, or no such pod.
    pub fn settled(&self) -> bool {
        self.gone || (!self.busy && self.wanted.is_none())
    }

    /// How long the next write waits: who fights over a status does so slowly.
    pub fn pause(&self) -> Duration {
        let since = self.at.filter(|_| self.disputed).map(|at| at.elapsed());
        since.map_or(Duration::ZERO, |since| REPAIR.saturating_sub(since))
    }

    /// Of another pod in the API nothing is known yet.
    fn aim(&mut self, target: &str) {
        if self.target != target {
            *self = Self { target: target.to_owned(), busy: self.busy, ..Self::default() };
        }
    }

    /// Takes in what the API has, unless that is older than what was written since.
    fn take(&mut self, version: Option<u64>, status: Value) {
        if version.zip(self.version).is_some_and(|(shown, known)| shown < known) {
            return;
        }
        self.disputed |= difference(&self.written, &status).is_some();
        self.written = status;
        self.version = version;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(uid: &str) -> Target {
        Target { namespace: "ns".into(), name: "p".into(), uid: uid.into() }
    }

    fn ready(status: &str) -> Value {
        json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": status }] })
    }

    /// Of the pod `u`, whose being ready the API has as version 5.
    fn written() -> Entry {
        let mut entry = Entry::default();
        entry.saw("u", Some(4), json!({ "phase": "Pending" }));
        assert!(entry.want(target("u"), ready("True")));
        let write = entry.due().unwrap();
        assert_eq!(write.patch, ready("True"));
        entry.done("u", write.wanted, Some(5));
        assert_eq!(entry.due(), None);
        assert!(entry.settled());
        entry
    }

    #[test]
    fn what_somebody_else_makes_of_it_is_written_again() {
        let mut entry = written();
        assert!(!entry.want(target("u"), ready("True")));
        entry.saw("u", Some(6), ready("False"));
        assert!(entry.want(target("u"), ready("True")));
        assert!(entry.pause() > Duration::ZERO, "somebody may do so again and again");
        let write = entry.due().unwrap();
        assert_eq!(write.patch, json!({ "conditions": [{ "type": "Ready", "status": "True" }] }));
        entry.done("u", write.wanted, Some(7));
        // What tells of that write is no news.
        entry.saw("u", Some(7), ready("True"));
        assert!(!entry.want(target("u"), ready("True")));
        assert_eq!(entry.pause(), Duration::ZERO);
    }

    #[test]
    fn a_pod_that_is_there_after_all_is_written_of_again() {
        let mut entry = written();
        assert!(entry.lost("u"));
        assert!(!entry.want(target("u"), ready("False")));
        entry.saw("u", Some(6), ready("True"));
        assert!(entry.want(target("u"), ready("False")));
    }

    #[test]
    fn what_is_older_than_the_last_write_is_not_believed() {
        let mut entry = written();
        entry.saw("u", Some(4), json!({ "phase": "Pending" }));
        assert!(!entry.want(target("u"), ready("True")));
    }

    #[test]
    fn what_is_seen_while_writing_is_compared_afterwards() {
        for (version, again) in [(6, false), (8, true)] {
            let mut entry = written();
            let wanted = json!({ "phase": "Running", "podIP": "10.0.0.1", "conditions": ready("True")["conditions"] });
            assert!(entry.want(target("u"), wanted.clone()));
            let write = entry.due().unwrap();
            entry.saw("u", Some(version), ready("False"));
            assert!(!entry.want(target("u"), wanted.clone()), "there is somebody who writes");
            entry.done("u", write.wanted, Some(7));
            assert_eq!(entry.due().is_some(), again);
            assert_eq!(entry.settled(), !again);
        }
    }

    #[test]
    fn a_mirror_that_was_made_anew_gets_all_of_it() {
        let mut entry = written();
        assert!(entry.want(target("v"), ready("True")));
        assert_eq!(entry.due().map(|write| (write.target.uid, write.patch)), Some(("v".into(), ready("True"))));
        // What becomes of the former one is no matter.
        entry.done("u", ready("False"), Some(9));
        assert!(!entry.lost("u") && !entry.settled());
        assert!(entry.lost("v") && entry.settled());
        assert!(!entry.want(target("v"), ready("True")));
        entry.saw("w", Some(1), json!({}));
        assert!(entry.want(target("w"), ready("True")));
    }
}
