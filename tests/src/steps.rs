//! Owns telling, while a long test runs, what of it is over and how long that took.

use std::time::Instant;

/// The steps of a test, as they are over.
pub struct Steps {
    test: &'static str,
    start: Instant,
    last: Instant,
}

impl Steps {
    /// Begins with the first of a test's steps.
    pub fn of(test: &'static str) -> Self {
        let now = Instant::now();
        Self { test, start: now, last: now }
    }

    /// Tells that one is over.
    pub fn passed(&mut self, what: &str) {
        let (took, all) = (self.last.elapsed().as_secs(), self.start.elapsed().as_secs());
        eprintln!("{}: {what} in {took} s, {all} s in all", self.test);
        self.last = Instant::now();
    }
}
