//! Owns [`Recent`], a small map that forgets what was not used for longest.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// As many values as are kept.
const KEPT: usize = 512;

/// A map by the hash of what its values are about, so that no long keys are kept.
#[derive(Debug)]
pub(super) struct Recent<V> {
    hasher: RandomState,
    values: HashMap<u64, (V, u64)>,
    turn: u64,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), values: HashMap::new(), turn: 0 }
    }
}

impl<V> Recent<V> {
    /// The value of `key`, made by `new` when there is none.
    pub(super) fn of(&mut self, key: impl Hash, new: impl FnOnce() -> V) -> &mut V {
        self.turn += 1;
        let key = self.hasher.hash_one(key);
        if self.values.len() >= KEPT && !self.values.contains_key(&key) {
            let oldest = self.values.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.and_then(|oldest| self.values.remove(&oldest));
        }
        let (value, used) = self.values.entry(key).or_insert_with(|| (new(), 0));
        *used = self.turn;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_not_used_for_longest() {
        let mut recent = Recent::default();
        for key in 0..KEPT {
            recent.of(key, || key);
        }
        recent.of(0, || usize::MAX);
        recent.of(KEPT, || KEPT);
        assert_eq!(recent.values.len(), KEPT);
        assert_eq!(*recent.of(0, || usize::MAX), 0);
        assert_eq!(*recent.of(1, || usize::MAX), usize::MAX);
    }
}
