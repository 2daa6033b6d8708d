//! Owns a small cache of answers, each with its own time to live.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// More answers than anyone needs; then those that are old go.
const MOST: usize = 512;

/// Answers by question.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    answers: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Nothing known.
    pub fn new() -> Self {
        Self { answers: Mutex::new(HashMap::new()) }
    }

    /// The answer, if it still holds at `now`.
    pub fn get(&self, question: &K, now: Instant) -> Option<V> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(question).filter(|(until, _)| *until > now).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer `until` then.
    pub fn put(&self, question: K, answer: V, now: Instant, until: Instant) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST {
            answers.retain(|_, (until, _)| *until > now);
        }
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(question, (until, answer));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_holds_for_its_time() {
        let (cache, now) = (Cache::new(), Instant::now());
        cache.put("a", 1, now, now + Duration::from_secs(10));
        assert_eq!(cache.get(&"a", now + Duration::from_secs(9)), Some(1));
        assert_eq!(cache.get(&"a", now + Duration::from_secs(10)), None);
        assert_eq!(cache.get(&"b", now), None);
    }

    #[test]
    fn it_stays_small() {
        let (cache, now) = (Cache::new(), Instant::now());
        for question in 0..3 * MOST {
            cache.put(question, (), now, now + Duration::from_secs(10));
        }
        let kept = cache.answers.lock().expect("no poison").len();
        assert!((1..=MOST).contains(&kept), "{kept}");
    }
}
