//! Tells what is spent time on, for who looks for it (`RUST_LOG=debug`).

use std::time::Instant;

/// Measures one thing that is done, lap by lap.
pub(super) struct Clock<'a> {
    id: &'a str,
    last: Instant,
}

impl<'a> Clock<'a> {
    /// Begins to measure, for the container `id`.
    pub fn new(id: &'a str) -> Self {
        Self { id, last: Instant::now() }
    }

    /// Tells how long it took since the last lap.
    pub fn lap(&mut self, what: &str) {
        tracing::debug!(id = self.id, "{what} in {:.1} ms", self.last.elapsed().as_secs_f64() * 1000.0);
        self.last = Instant::now();
    }
}
