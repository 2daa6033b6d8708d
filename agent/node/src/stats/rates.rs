//! Owns rates of counters: how fast a counter grew between two times that somebody asked.

use std::collections::HashMap;

/// A rate is not taken over less.
const SHORTEST: u64 = 50_000_000;
/// A rate is not taken anew within.
const LASTS: u64 = 10_000_000_000;
/// A counter that nobody asked about for so long is forgotten; so are rates over more.
const FORGOTTEN: u64 = 5 * 60 * 1_000_000_000;

/// Counters as they were asked about last.
#[derive(Debug, Default)]
pub(super) struct Rates {
    seen: HashMap<String, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: u64,
    total: u64,
    rate: Option<u64>,
}

impl Rates {
    /// What counter `key` grows by a second, now that it is `total` at `at` nanoseconds. Nothing when it is
    /// asked about the first time.
    pub fn observe(&mut self, key: &str, at: u64, total: u64) -> Option<u64> {
        let Some(seen) = self.seen.get_mut(key) else {
            self.seen.insert(key.to_owned(), Seen { at, total, rate: None });
            return None;
        };
        let elapsed = at.saturating_sub(seen.at);
        if elapsed < SHORTEST || (elapsed < LASTS && seen.rate.is_some()) {
            return seen.rate;
        }
        let grown = u128::from(total.saturating_sub(seen.total)) * 1_000_000_000 / u128::from(elapsed);
        let rate = (total >= seen.total && elapsed < FORGOTTEN).then(|| u64::try_from(grown).unwrap_or(u64::MAX));
        *seen = Seen { at, total, rate };
        rate
    }

    /// Forgets what nobody asked about for long.
    pub fn prune(&mut self, at: u64) {
        self.seen.retain(|_, seen| at.saturating_sub(seen.at) < FORGOTTEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_rate_is_over_the_time_between_two_questions() {
        let mut rates = Rates::default();
        assert_eq!(rates.observe("a", SECOND, 100), None);
        assert_eq!(rates.observe("a", SECOND + SECOND / 10, 150), Some(500));
        assert_eq!(rates.observe("a", 2 * SECOND, 9999), Some(500), "it lasts ten seconds");
        assert_eq!(rates.observe("a", 12 * SECOND + SECOND / 10, 1250), Some(100));
    }

    #[test]
    fn a_counter_that_began_anew_has_no_rate() {
        let mut rates = Rates::default();
        rates.observe("a", 0, 100);
        assert_eq!(rates.observe("a", 20 * SECOND, 10), None);
        assert_eq!(rates.observe("a", 21 * SECOND, 30), Some(20));
    }

    #[test]
    fn what_nobody_asks_about_is_forgotten() {
        let mut rates = Rates::default();
        rates.observe("a", 0, 100);
        rates.observe("b", 200 * SECOND, 100);
        rates.prune(301 * SECOND);
        assert_eq!(rates.seen.len(), 1);
    }
}
