//! Owns what must outlive a reboot of the update agent: a file that is replaced at one stroke.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::settings::Lock;
use crate::kept;

/// Its file, below keeld's folder.
pub const FILE: &str = "update.json";
/// The longest that anything which did not work out is waited with, in seconds.
pub const LONGEST_WAIT: u64 = 4 * 3600;

/// What is known from before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The last look for versions.
    pub checked: Option<Checked>,
    /// The reboot that is under way, or that was when the host went down.
    pub attempt: Option<Attempt>,
    /// Why something is to be tried again, and when.
    pub retry: Option<Retry>,
    /// The version that was last rebooted for, and how often.
    pub tried: Option<Tried>,
    /// The version that the pods of this node did not go for, and how often in a row.
    pub undrained: Option<Tried>,
    /// The version that was last seen staged, and since when.
    pub staged: Option<Staged>,
}

/// A look for versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checked {
    /// When, in seconds since the epoch.
    pub time: u64,
    /// What came of it.
    pub message: String,
    /// What the ref that is followed held.
    pub head: Option<Head>,
}

/// The newest commit of a ref.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The refspec, `REMOTE:REF`.
    pub refspec: String,
    /// The commit.
    pub checksum: String,
}

/// A reboot that is under way. It is written before anything is taken from others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempt {
    /// The boot that it began in.
    pub boot_id: String,
    /// The commit to boot.
    pub checksum: String,
    /// Its version.
    pub label: String,
    /// When it began, in seconds since the epoch.
    pub since: u64,
    /// The lock that was asked for, if any.
    pub lock: Option<Lock>,
    /// Whether it was given.
    pub locked: bool,
    /// Whether the node's pods were asked to go: it may be cordoned, with our mark.
    pub draining: bool,
    /// Whether they went.
    pub drained: bool,
}

/// Something that did not work out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Retry {
    /// Not before this, in seconds since the epoch.
    pub after: u64,
    /// How often it did not work out in a row.
    pub count: u32,
    /// Why.
    pub problem: String,
}

impl Retry {
    /// After what did not work out for the `count`th time in a row: the wait doubles each time, from `first` to `most`
    /// seconds.
    fn new(now: u64, problem: String, count: u32, first: u64, most: u64) -> Self {
        let wait = first.saturating_mul(1 << count.saturating_sub(1).min(16)).min(most);
        Self { after: now.saturating_add(wait), count, problem }
    }

    /// Whether it is to be waited yet. What lies further ahead than any wait was written by a clock that was ahead.
    pub fn waits(&self, now: u64) -> bool {
        now < self.after && self.after - now <= LONGEST_WAIT
    }
}

/// A version that something was tried for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tried {
    /// The commit.
    pub checksum: String,
    /// How often.
    pub count: u32,
}

impl Tried {
    /// Once more than `before`, where that was the same version.
    fn again(before: Option<Self>, checksum: &str) -> Self {
        let before = before.filter(|tried| tried.checksum == checksum);
        Self { checksum: checksum.to_owned(), count: before.map_or(0, |tried| tried.count).saturating_add(1) }
    }
}

/// A version that was seen staged; it is remembered also while it is staged no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Staged {
    /// The commit.
    pub checksum: String,
    /// When it was first, in seconds since the epoch.
    pub since: u64,
}

impl State {
    /// Reads it; nothing is known where there is no file, or none that can be understood.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        kept::read(&folder.join(FILE))
    }

    /// Writes it, durably.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        kept::write(&folder.join(FILE), self)
    }

    /// Notes that something did not work out; the wait doubles each time, from `first` to `most` seconds.
    pub fn failed(&mut self, now: u64, problem: String, first: u64, most: u64) {
        let count = self.retry.as_ref().map_or(0, |retry| retry.count).saturating_add(1);
        self.retry = Some(Retry::new(now, problem, count, first, most));
    }

    /// Notes that the pods did not go for the reboot that is under way. That has a count of its own: a look for
    /// versions that works out comes before each try, and ends the one of what failed.
    pub fn not_drained(&mut self, now: u64, problem: String, first: u64, most: u64) {
        let checksum = self.attempt.as_ref().map(|attempt| attempt.checksum.clone()).unwrap_or_default();
        let undrained = Tried::again(self.undrained.take(), &checksum);
        self.retry = Some(Retry::new(now, problem, undrained.count, first, most));
        self.undrained = Some(undrained);
    }

    /// Notes that the host reboots for a version.
    pub fn rebooting(&mut self, checksum: &str) {
        self.tried = Some(Tried::again(self.tried.take(), checksum));
    }

    /// Notes that a version is staged; whether that is news. One that a clock noted which was ahead is so from now on.
    pub fn note_staged(&mut self, checksum: &str, now: u64) -> bool {
        let known = self.staged_since(checksum).is_some_and(|since| since <= now);
        if !known {
            self.staged = Some(Staged { checksum: checksum.to_owned(), since: now });
        }
        !known
    }

    /// Since when a version is staged here, where that is known.
    pub fn staged_since(&self, checksum: &str) -> Option<u64> {
        self.staged.as_ref().filter(|staged| staged.checksum == checksum).map(|staged| staged.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_begun_anew_when_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("new");
        assert_eq!(State::read(&below).unwrap(), State::default());
        let lock = Some(Lock::Cluster { slots: 2 });
        let attempt = Attempt { boot_id: "b".into(), lock, locked: true, ..Attempt::default() };
        let state = State { attempt: Some(attempt), ..State::default() };
        state.write(&below).unwrap();
        assert_eq!(State::read(&below).unwrap(), state);
        for damaged in [&b"{"[..], b"", b"\0\0\0", b"{\"attempt\":\xff\xfe}"] {
            std::fs::write(below.join(FILE), damaged).unwrap();
            assert_eq!(State::read(&below).unwrap(), State::default());
        }
    }

    #[test]
    fn what_another_version_wrote_is_read_as_far_as_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{ "checked": { "time": 1 }, "attempt": { "boot_id": "b", "later": true }, "retry": { "after": 2 },
            "tried": { "checksum": "c" } }"#;
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let state = State::read(folder.path()).unwrap();
        assert_eq!(state.attempt, Some(Attempt { boot_id: "b".into(), ..Attempt::default() }));
        assert_eq!(state.checked.map(|checked| checked.time), Some(1));
        assert_eq!(state.retry.map(|retry| retry.after), Some(2));
        assert_eq!(state.tried, Some(Tried { checksum: "c".into(), count: 0 }));
    }

    #[test]
    fn waits_grow_to_a_limit() {
        let mut state = State::default();
        let waits: Vec<u64> = (0..5)
            .map(|_| {
                state.failed(100_000, "no".into(), 60, 300);
                state.retry.as_ref().unwrap().after - 100_000
            })
            .collect();
        assert_eq!(waits, [60, 120, 240, 300, 300]);
        let retry = state.retry.unwrap();
        assert!(retry.waits(retry.after - 1) && retry.waits(retry.after - LONGEST_WAIT) && !retry.waits(retry.after));
        assert!(!retry.waits(retry.after - LONGEST_WAIT - 1), "the clock was ahead");
    }

    #[test]
    fn a_drain_that_fails_waits_longer_each_time_whatever_works_out_before_it() {
        let mut state = State::default();
        let mut wait = |checksum: &str| {
            // What a look for versions that works out leaves, and a lock that others have had meanwhile.
            state.retry = None;
            state.failed(1_000, "held".into(), 120, 300);
            state.attempt = Some(Attempt { checksum: checksum.into(), ..Attempt::default() });
            state.not_drained(1_000, "no".into(), 900, LONGEST_WAIT);
            state.retry.as_ref().unwrap().after - 1_000
        };
        let waits: Vec<u64> = (0..6).map(|_| wait("a")).collect();
        assert_eq!(waits, [900, 1800, 3600, 7200, LONGEST_WAIT, LONGEST_WAIT]);
        assert_eq!(wait("b"), 900, "another version");
    }

    #[test]
    fn reboots_are_counted_by_version() {
        let mut state = State::default();
        for checksum in ["a", "a", "b"] {
            state.rebooting(checksum);
        }
        assert_eq!(state.tried, Some(Tried { checksum: "b".into(), count: 1 }));
    }

    #[test]
    fn a_version_is_staged_since_it_was_first() {
        let mut state = State::default();
        assert!(state.note_staged("a", 100) && !state.note_staged("a", 200));
        assert_eq!((state.staged_since("a"), state.staged_since("b")), (Some(100), None));
        assert!(state.note_staged("a", 50), "the clock was ahead");
        assert!(!state.note_staged("a", 60) && state.note_staged("b", 300));
        assert_eq!((state.staged_since("a"), state.staged_since("b")), (None, Some(300)));
    }
}
