//! Owns how long a container waits that ended again and again: 10 s, doubled each time up to five
//! minutes, forgotten when it ran for ten.

use std::collections::HashMap;

const FIRST: i64 = 10;
const LONGEST: i64 = 300;
const FORGET: i64 = 2 * LONGEST;

#[derive(Debug, Clone, Copy)]
struct Entry {
    seconds: i64,
    /// When it was last started again, seconds since the epoch.
    since: i64,
}

/// The waits of one pod's containers. Times are seconds since the epoch.
#[derive(Debug, Default)]
pub struct Backoff {
    entries: HashMap<String, Entry>,
}

impl Backoff {
    /// How long a container that ended at `finished` must wait still, and its whole wait; both in seconds.
    pub fn wait(&self, name: &str, finished: i64, now: i64) -> Option<(i64, i64)> {
        let entry = self.entries.get(name).filter(|entry| finished - entry.since < FORGET)?;
        let left = finished + entry.seconds - now;
        (left > 0).then_some((left, entry.seconds))
    }

    /// It is started again after it ended at `finished`.
    pub fn started(&mut self, name: &str, finished: i64, now: i64) {
        let next = match self.entries.get(name) {
            Some(entry) if finished - entry.since < FORGET => (entry.seconds * 2).min(LONGEST),
            _ => FIRST,
        };
        self.entries.insert(name.to_owned(), Entry { seconds: next, since: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_each_later_one_waits_longer() {
        let mut backoff = Backoff::default();
        let mut now = 1000;
        assert_eq!(backoff.wait("a", now, now), None);
        let mut waits = Vec::new();
        for _ in 0..7 {
            backoff.started("a", now, now);
            now += 1;
            let (left, _) = backoff.wait("a", now, now).unwrap();
            waits.push(left);
            now += left;
            assert_eq!(backoff.wait("a", now - left, now), None);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_container_that_ran_for_long_starts_anew() {
        let mut backoff = Backoff::default();
        backoff.started("a", 1000, 1000);
        assert_eq!(backoff.wait("a", 1700, 1700), None);
        backoff.started("a", 1700, 1700);
        assert_eq!(backoff.wait("a", 1701, 1701), Some((10, 10)));
    }
}
