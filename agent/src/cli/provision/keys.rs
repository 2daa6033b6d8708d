//! Owns which keys a host trusts because its configuration asks for them: those come and go with it, and the image's
//! stay.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::deploy::{DeployError, keyring};
use crate::kept;

/// The file, below keeld's folder.
pub const FILE: &str = "provisioned-keys.json";

/// What was done about keys at earlier boots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Hashes of the texts of keys that were taken in.
    taken: BTreeSet<String>,
    /// Fingerprints of the keys that only the configuration brought.
    brought: BTreeSet<String>,
}

impl Record {
    /// Reads it; nothing is known where there is no file, or none that can be understood.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        kept::read(&folder.join(FILE))
    }

    /// Writes it, durably.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        kept::write(&folder.join(FILE), self)
    }

    /// Whether there is a key to be trusted no more once nobody asks for it.
    pub fn has_brought(&self) -> bool {
        !self.brought.is_empty()
    }
}

/// What the configuration asks for by one text: a key, or several.
#[derive(Debug)]
pub struct Asked {
    hash: String,
    fingerprints: Vec<String>,
}

impl Asked {
    /// Reads a text in ASCII armor.
    pub fn read(text: &str) -> Result<Self, DeployError> {
        let fingerprints = keyring::fingerprints_in(text.as_bytes())?;
        Ok(Self { hash: hex::encode(Sha256::digest(text.as_bytes())), fingerprints })
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which of the texts are to be taken in.
    pub take: Vec<usize>,
    /// Fingerprints of keys to be trusted no more.
    pub forget: Vec<String>,
    /// Whether keys stay that nobody asks for, as there would be no other.
    pub keeps_last: bool,
    /// The record while it is under way; where it is cut short, the next boot makes up for it.
    pub before: Record,
    /// The record when it is done.
    pub after: Record,
}

impl Plan {
    /// Whether all is as it should be.
    pub fn is_done(&self) -> bool {
        self.take.is_empty() && self.forget.is_empty()
    }
}

/// What is to be done for these to be trusted, and none that the configuration asked for earlier. Keys that were
/// `trusted` before it asked for them are the image's, or somebody's, and stay.
pub fn plan(asked: &[Asked], trusted: &[String], record: &Record) -> Plan {
    let wanted: BTreeSet<String> = asked.iter().flat_map(|asked| asked.fingerprints.iter().cloned()).collect();
    let is_new = |asked: &Asked| {
        !record.taken.contains(&asked.hash) || asked.fingerprints.iter().any(|key| !trusted.contains(key))
    };
    let take: Vec<usize> = (0..asked.len()).filter(|&index| is_new(&asked[index])).collect();
    let others = |key: &String| trusted.contains(key) && !record.brought.contains(key);
    let mut brought: BTreeSet<String> = wanted.iter().filter(|key| !others(key)).cloned().collect();
    let gone = trusted.iter().filter(|key| record.brought.contains(*key) && !wanted.contains(*key));
    let mut forget: Vec<String> = gone.cloned().collect();
    // A host without a key takes no version any more, nor one that would mend that.
    let keeps_last = wanted.is_empty() && !forget.is_empty() && forget.len() == trusted.len();
    if keeps_last {
        brought.extend(std::mem::take(&mut forget));
    }
    let known = asked.iter().filter(|asked| !is_new(asked)).map(|asked| asked.hash.clone());
    let before = Record { taken: known.collect(), brought: record.brought.union(&brought).cloned().collect() };
    let after = Record { taken: asked.iter().map(|asked| asked.hash.clone()).collect(), brought };
    Plan { take, forget, keeps_last, before, after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn record(taken: &str, brought: &str) -> Record {
        Record { taken: list(taken).into_iter().collect(), brought: list(brought).into_iter().collect() }
    }

    /// Each text is its hash and the keys in it: `h1:A,B`.
    fn planned(asked: &str, trusted: &str, record: &Record) -> Plan {
        let one = |text: &str| {
            let (hash, keys) = text.split_once(':').unwrap();
            Asked { hash: hash.to_owned(), fingerprints: list(&keys.replace(',', " ")) }
        };
        plan(&asked.split_whitespace().map(one).collect::<Vec<_>>(), &list(trusted), record)
    }

    #[test]
    fn a_key_goes_with_the_configuration_that_brought_it() {
        let first = planned("h1:A", "IMAGE", &Record::default());
        assert_eq!((&first.take, &first.forget), (&vec![0], &list("")));
        assert_eq!((&first.before, &first.after), (&record("", "A"), &record("h1", "A")));
        assert!(planned("h1:A", "IMAGE A", &first.after).is_done());
        let next = planned("h2:B", "IMAGE A", &first.after);
        assert_eq!((next.take, next.forget), (vec![0], list("A")));
        assert_eq!((next.before, next.after), (record("", "A B"), record("h2", "B")));
        let none = planned("", "IMAGE B", &record("h2", "B"));
        assert_eq!((none.forget, none.after), (list("B"), Record::default()));
    }

    #[test]
    fn the_images_key_stays_when_it_was_asked_for_as_well() {
        let asked = planned("h1:IMAGE,A", "IMAGE", &Record::default());
        assert_eq!(asked.after, record("h1", "A"));
        assert_eq!(planned("", "IMAGE A", &asked.after).forget, list("A"));
    }

    #[test]
    fn the_last_key_stays() {
        let plan = planned("", "A B", &record("h1", "A B"));
        assert!(plan.keeps_last && plan.is_done());
        assert_eq!(plan.after, record("", "A B"));
        assert!(!planned("h2:C", "A B", &record("h1", "A B")).keeps_last);
        assert!(!planned("", "", &Record::default()).keeps_last);
    }

    #[test]
    fn what_was_cut_short_is_made_up_for() {
        // Taken in and not noted; noted and not taken in; taken away by hand; the same key with a later expiry.
        let cut = planned("h1:A", "IMAGE A", &record("", "A"));
        assert_eq!((cut.take, cut.after), (vec![0], record("h1", "A")));
        assert_eq!(planned("h1:A", "IMAGE", &record("", "A")).take, [0]);
        assert_eq!(planned("h1:A", "IMAGE", &record("h1", "A")).take, [0]);
        let later = planned("h2:A", "IMAGE A", &record("h1", "A"));
        assert_eq!((later.take, later.forget, later.after), (vec![0], list(""), record("h2", "A")));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Record::default());
        let whole = record("h1 h2", "A B");
        whole.write(folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), whole);
        std::fs::write(folder.path().join(FILE), "0123abcd\n").unwrap();
        assert_eq!(Record::read(folder.path()).unwrap(), Record::default());
        assert!(whole.has_brought() && !record("h1", "").has_brought());
    }
}
