//! Owns waiting longer after each failure, each node differently long: a thousand nodes must not come
//! back at the same moment.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How long to wait after the next failure.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// From `first`, doubled with each failure, up to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next wait: half of it for certain, the rest by chance.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait.mul_f64(0.5 + chance() / 2.0)
    }

    /// All is well again. Whether it was not before.
    pub fn reset(&mut self) -> bool {
        let failed = self.next != self.first;
        self.next = self.first;
        failed
    }

    /// Whether something failed since all was well.
    pub fn failing(&self) -> bool {
        self.next != self.first
    }
}

/// `period`, by chance up to `share` of it longer or shorter.
pub fn jittered(period: Duration, share: f64) -> Duration {
    period.mul_f64(1.0 + share * (2.0 * chance() - 1.0))
}

/// A number from 0 to 1 that differs each time: the hasher's keys do.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for most in [1, 2, 4, 5, 5] {
            let (wait, most) = (backoff.wait(), Duration::from_secs(most));
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
        }
        assert!(backoff.failing() && backoff.reset() && !backoff.reset());
        assert!(backoff.wait() <= Duration::from_secs(1));
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let waits: Vec<_> = (0..50).map(|_| jittered(Duration::from_secs(100), 0.1).as_secs_f64()).collect();
        assert!(waits.iter().all(|wait| (90.0..=110.0).contains(wait)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
