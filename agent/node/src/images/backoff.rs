//! Owns how long a pod waits before an image that could not be pulled is tried again. Pure but for the
//! caller's clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

/// What failed lately, by pod and image.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: HashMap<(String, String), Failure>,
}

#[derive(Debug)]
struct Failure {
    since: Instant,
    pause: Duration,
    /// Why, for the state that is shown while waiting.
    why: String,
}

impl Backoff {
    /// How long to wait still, and why; nothing when it may be tried.
    pub(super) fn waiting(&self, pod: &str, image: &str, now: Instant) -> Option<(Duration, String)> {
        let failure = self.failures.get(&key(pod, image))?;
        let left = failure.pause.checked_sub(now.saturating_duration_since(failure.since))?;
        (!left.is_zero()).then(|| (left, failure.why.clone()))
    }

    /// It failed: the next pause is twice the last one's length.
    pub(super) fn failed(&mut self, pod: &str, image: &str, why: String, now: Instant) {
        self.failures.retain(|_, failure| now.saturating_duration_since(failure.since) < 2 * LONGEST);
        let before = self.failures.get(&key(pod, image)).map(|failure| failure.pause);
        let pause = before.map_or(FIRST, |pause| (2 * pause).min(LONGEST));
        self.failures.insert(key(pod, image), Failure { since: now, pause, why });
    }

    /// It is there.
    pub(super) fn succeeded(&mut self, pod: &str, image: &str) {
        self.failures.remove(&key(pod, image));
    }
}

fn key(pod: &str, image: &str) -> (String, String) {
    (pod.to_owned(), image.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            backoff.failed("u", "i", "why".into(), now);
            let (pause, why) = backoff.waiting("u", "i", now).unwrap();
            assert_eq!(why, "why");
            pauses.push(pause.as_secs());
            assert!(backoff.waiting("u", "i", now + pause - SECOND).is_some());
            now += pause;
            assert!(backoff.waiting("u", "i", now).is_none());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn pods_and_images_wait_for_themselves() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.failed("u", "i", String::new(), now);
        assert!(backoff.waiting("u", "j", now).is_none());
        assert!(backoff.waiting("v", "i", now).is_none());
        backoff.succeeded("u", "i");
        assert!(backoff.waiting("u", "i", now).is_none());
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.failed("u", "i", String::new(), now);
        backoff.failed("v", "j", String::new(), now + 2 * LONGEST);
        assert_eq!(backoff.failures.len(), 1);
    }
}
