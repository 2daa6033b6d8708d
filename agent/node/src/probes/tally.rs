//! Owns thresholds: how often in a row a probe must say the same before it counts.

/// What a probe said in a row.
#[derive(Debug, Default)]
pub(super) struct Tally {
    last: Option<bool>,
    row: u32,
}

impl Tally {
    /// Counts one result; gives it when it was said often enough, and nothing before.
    pub(super) fn count(&mut self, success: bool, successes: u32, failures: u32) -> Option<bool> {
        self.row = if self.last == Some(success) { self.row.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let enough = if success { successes } else { failures };
        (self.row >= enough).then_some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(results: &[bool], successes: u32, failures: u32) -> Vec<Option<bool>> {
        let mut tally = Tally::default();
        results.iter().map(|success| tally.count(*success, successes, failures)).collect()
    }

    #[test]
    fn failures_count_only_in_a_row() {
        let results = said(&[false, false, true, false, false, false, false], 1, 3);
        assert_eq!(results, [None, None, Some(true), None, None, Some(false), Some(false)]);
    }

    #[test]
    fn so_do_successes() {
        assert_eq!(said(&[true, false, true, true], 2, 1), [None, Some(false), None, Some(true)]);
    }
}
