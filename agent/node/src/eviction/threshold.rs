//! Owns [`Thresholds`]: how much of everything must be left, as the settings say. Pure.

use std::collections::BTreeMap;

use super::decide::Signal;
use crate::spec::quantity::Amount;

/// How much must be left of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threshold {
    /// So much.
    Amount(u64),
    /// So many thousandths of a percent of the whole.
    Share(u64),
}

impl Threshold {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => Some(Self::Share(u64::try_from(Amount::parse(percent)?.milli()).ok()?)),
            None => Some(Self::Amount(u64::try_from(Amount::parse(text)?.value()).ok()?)),
        }
    }

    fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Amount(amount) => amount,
            Self::Share(part) => u64::try_from(u128::from(capacity) * u128::from(part) / 100_000).unwrap_or(u64::MAX),
        }
    }
}

/// How much of everything must be left, by the name of the signal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thresholds(BTreeMap<String, Threshold>);

impl Thresholds {
    /// Those of [`crate::config::Settings::eviction`].
    pub fn new(settings: &BTreeMap<String, String>) -> Self {
        let parsed = settings.iter().filter_map(|(signal, text)| Some((signal.clone(), Threshold::parse(text)?)));
        Self(parsed.collect())
    }

    /// How much must be left of `capacity`; nothing where no pod is to be evicted for it.
    pub fn of(&self, signal: Signal, capacity: u64) -> Option<u64> {
        Some(self.0.get(signal.name())?.of(capacity))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What the kubelet evicts at unless told otherwise.
    pub const DEFAULTS: [(&str, &str); 6] = [
        ("memory.available", "100Mi"),
        ("nodefs.available", "10%"),
        ("nodefs.inodesFree", "5%"),
        ("imagefs.available", "15%"),
        ("imagefs.inodesFree", "5%"),
        ("pid.available", "5%"),
    ];

    /// As a person would write them.
    pub fn thresholds(settings: &[(&str, &str)]) -> Thresholds {
        let settings = settings.iter().map(|(signal, text)| ((*signal).to_owned(), (*text).to_owned()));
        Thresholds::new(&settings.collect())
    }

    #[test]
    fn they_are_amounts_or_parts() {
        let some =
            thresholds(&[("memory.available", "5%"), ("nodefs.available", "1Gi"), ("imagefs.available", "7.5%")]);
        assert_eq!(some.of(Signal::Memory, 1000), Some(50));
        assert_eq!(some.of(Signal::PodsMemory, 2000), Some(100));
        assert_eq!(some.of(Signal::NodeFs, 2000), Some(1 << 30));
        assert_eq!(some.of(Signal::ImageFs, 1000), Some(75));
        assert_eq!(some.of(Signal::Pids, 1000), None);
    }

    #[test]
    fn the_largest_disk_has_a_part() {
        let all = thresholds(&DEFAULTS);
        assert_eq!(all.of(Signal::NodeFs, u64::MAX), Some(u64::MAX / 10));
        assert_eq!(all.of(Signal::NodeInodes, 99), Some(4));
    }
}
