//! Owns what becomes of a record: an object of its own, one more in the count of an earlier one, or
//! nothing where too much is said about one object. Pure but for what it remembers.

use jiff::{SignedDuration, Timestamp};

use super::Record;
use super::recent::Recent;

/// The same said again within so long is counted.
const SAME: SignedDuration = SignedDuration::from_mins(10);
/// What may be said about an object at once; as client-go has it.
const BURST: f64 = 25.0;
/// How long it takes until one more may be said.
const REFILL: f64 = 300.0;
/// As long as a name may be.
const NAME: usize = 253;

/// What to do with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: too much was said.
    Ignore,
    /// A new object.
    Create(Sighting),
    /// The count of an object that is there becomes this.
    Count(Sighting),
}

/// An event over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The object's name.
    pub(super) name: String,
    /// When it was seen first.
    pub(super) first: Timestamp,
    /// How often so far.
    pub(super) count: i32,
}

#[derive(Debug)]
struct Seen {
    sighting: Sighting,
    last: Timestamp,
    stored: bool,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// Remembers what was said lately.
#[derive(Debug, Default)]
pub(super) struct Correlator {
    seen: Recent<Option<Seen>>,
    buckets: Recent<Option<Bucket>>,
    last_name: i128,
}

impl Correlator {
    /// What to do with a record. What is to be stored counts as stored unless [`Self::lost`].
    pub(super) fn decide(&mut self, record: &Record) -> Step {
        let step = self.observe(record);
        if !self.allowed(record) {
            return Step::Ignore;
        }
        if let Some(seen) = self.seen.of(identity(record), || None) {
            seen.stored = true;
        }
        step
    }

    /// A record could not be stored, or what was stored has gone: the next of its kind makes an object.
    pub(super) fn lost(&mut self, record: &Record) {
        if let Some(seen) = self.seen.of(identity(record), || None) {
            seen.stored = false;
        }
    }

    fn observe(&mut self, record: &Record) -> Step {
        let unique = self.last_name.saturating_add(1).max(record.at.as_nanosecond());
        let slot = self.seen.of(identity(record), || None);
        match slot {
            Some(seen) if record.at.duration_since(seen.last) < SAME => {
                seen.sighting.count = seen.sighting.count.saturating_add(1);
                seen.last = record.at;
                let sighting = seen.sighting.clone();
                if seen.stored { Step::Count(sighting) } else { Step::Create(sighting) }
            }
            _ => {
                self.last_name = unique;
                let name = name(record.about.name.as_deref().unwrap_or_default(), unique);
                let sighting = Sighting { name, first: record.at, count: 1 };
                *slot = Some(Seen { sighting: sighting.clone(), last: record.at, stored: false });
                Step::Create(sighting)
            }
        }
    }

    /// Takes a token of the object's bucket.
    fn allowed(&mut self, record: &Record) -> bool {
        let about = &record.about;
        let key = (&about.kind, &about.namespace, &about.name, &about.uid, record.kind);
        let bucket = self.buckets.of(key, || None).get_or_insert(Bucket { tokens: BURST, at: record.at });
        let passed = record.at.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed / REFILL).min(BURST);
        bucket.at = record.at;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// What makes two records the same event.
fn identity(record: &Record) -> impl std::hash::Hash + '_ {
    let about = &record.about;
    let place = (&about.kind, &about.namespace, &about.name, &about.uid, &about.field_path);
    (place, record.kind, record.reason, &record.message)
}

/// `POD.HEX`, cut so that the API takes it.
fn name(about: &str, unique: i128) -> String {
    let unique = format!("{unique:x}");
    let mut end = about.len().min(NAME - 1 - unique.len());
    while !about.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}.{unique}", about[..end].trim_end_matches(['.', '-']))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;
    use crate::events::Kind;

    fn record(pod: &str, message: &str, second: i64) -> Record {
        let about = ObjectReference { name: Some(pod.into()), ..Default::default() };
        let at = Timestamp::from_second(1_800_000_000 + second).unwrap();
        Record { about, kind: Kind::Warning, reason: "Unhealthy", message: message.into(), at }
    }

    fn count(step: &Step) -> (char, i32) {
        match step {
            Step::Ignore => ('-', 0),
            Step::Create(sighting) => ('+', sighting.count),
            Step::Count(sighting) => ('=', sighting.count),
        }
    }

    #[test]
    fn counts_the_same_within_ten_minutes() {
        let mut correlator = Correlator::default();
        let first = correlator.decide(&record("web", "refused", 0));
        let second = correlator.decide(&record("web", "refused", 10));
        assert_eq!((count(&first), count(&second)), (('+', 1), ('=', 2)));
        let (Step::Create(first), Step::Count(second)) = (first, second) else { panic!("neither made nor counted") };
        assert_eq!((first.name, first.first), (second.name, second.first));
        assert_eq!(count(&correlator.decide(&record("web", "timed out", 11))), ('+', 1));
        assert_eq!(count(&correlator.decide(&record("db", "refused", 12))), ('+', 1));
        assert_eq!(count(&correlator.decide(&record("web", "refused", 10 + 600))), ('+', 1));
    }

    #[test]
    fn makes_an_object_again_that_was_lost() {
        let mut correlator = Correlator::default();
        correlator.decide(&record("web", "refused", 0));
        correlator.lost(&record("web", "refused", 0));
        assert_eq!(count(&correlator.decide(&record("web", "refused", 10))), ('+', 2));
        assert_eq!(count(&correlator.decide(&record("web", "refused", 20))), ('=', 3));
    }

    #[test]
    fn lets_nobody_flood() {
        let mut correlator = Correlator::default();
        let said = (0..40).filter(|second| correlator.decide(&record("web", "refused", *second)) != Step::Ignore);
        assert_eq!(said.count(), 25);
        assert_eq!(count(&correlator.decide(&record("db", "refused", 40))), ('+', 1));
        // One more after five minutes, and its count tells of all.
        assert_eq!(count(&correlator.decide(&record("web", "refused", 310))), ('=', 41));
        assert_eq!(count(&correlator.decide(&record("web", "refused", 311))), ('-', 0));
    }

    #[test]
    fn what_was_ignored_at_first_is_made_later() {
        let mut correlator = Correlator::default();
        for second in 0..25 {
            correlator.decide(&record("web", &second.to_string(), 0));
        }
        assert_eq!(correlator.decide(&record("web", "new", 1)), Step::Ignore);
        assert_eq!(count(&correlator.decide(&record("web", "new", 305))), ('+', 2));
    }

    #[test]
    fn names_are_unique_and_short_enough() {
        let mut correlator = Correlator::default();
        let mut made = |pod: &str, message: &str| match correlator.decide(&record(pod, message, 0)) {
            Step::Create(sighting) => sighting.name,
            step => panic!("{step:?}"),
        };
        assert!(made("web-1", "one").starts_with("web-1."));
        assert_ne!(made("web", "one"), made("web", "two"));
        assert!(made(&"a".repeat(253), "one").len() <= NAME);
        assert_eq!(name("a.-", 255), "a.ff");
    }
}
