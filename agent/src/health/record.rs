//! Owns what is remembered of versions: which were healthy, and which were given up and why.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::kept;
use crate::model::status::label;

/// The file, in keeld's folder.
pub const FILE: &str = "health.json";
/// How many versions are remembered of each kind.
const KEPT: usize = 32;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Versions that were healthy, the latest last.
    pub healthy: Vec<Known>,
    /// Versions that were given up, the latest last.
    pub given_up: Vec<GivenUp>,
}

/// A version that was healthy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The commit.
    pub checksum: String,
    /// Its version.
    pub version: Option<String>,
    /// When it was first, RFC 3339.
    pub time: String,
}

/// A version that was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// The commit.
    pub checksum: String,
    /// Its version.
    pub version: Option<String>,
    /// The refspec it came from.
    #[serde(rename = "ref")]
    pub refspec: Option<String>,
    /// When, RFC 3339.
    pub time: String,
    /// What was not well, a line each.
    pub why: Vec<String>,
    /// The commit that was gone back to.
    pub back_to: String,
}

impl GivenUp {
    /// A sentence of it.
    pub fn sentence(&self) -> String {
        let label = label(self.version.as_deref(), &self.checksum);
        format!("Version {label} was given up at {}, as the host was not healthy: {}", self.time, self.why.join("; "))
    }
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

    /// Whether a version was healthy once.
    pub fn was_healthy(&self, checksum: &str) -> bool {
        self.healthy.iter().any(|known| known.checksum == checksum)
    }

    /// A version that was given up.
    pub fn gave_up(&self, checksum: &str) -> Option<&GivenUp> {
        self.given_up.iter().rev().find(|given_up| given_up.checksum == checksum)
    }

    /// The versions that were given up for the one with this commit.
    pub fn given_up_for<'a>(&'a self, checksum: &'a str) -> impl Iterator<Item = &'a GivenUp> {
        self.given_up.iter().filter(move |given_up| given_up.back_to == checksum)
    }

    /// Notes that a version is healthy, which forgives that it was given up; whether that is news.
    pub fn note_healthy(&mut self, known: Known) -> bool {
        let before = self.given_up.len();
        self.given_up.retain(|given_up| given_up.checksum != known.checksum);
        let news = !self.was_healthy(&known.checksum);
        if news {
            self.healthy.push(known);
            trim(&mut self.healthy);
        }
        news || self.given_up.len() != before
    }

    /// Notes that a version is given up.
    pub fn note_given_up(&mut self, given_up: GivenUp) {
        self.given_up.retain(|other| other.checksum != given_up.checksum);
        self.given_up.push(given_up);
        trim(&mut self.given_up);
    }
}

fn trim<T>(list: &mut Vec<T>) {
    list.drain(..list.len().saturating_sub(KEPT));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_up(checksum: &str) -> GivenUp {
        let why = vec!["units: ssh.service is failed".to_owned()];
        GivenUp { checksum: checksum.into(), back_to: "old".into(), time: "now".into(), why, ..GivenUp::default() }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::read(folder.path()).unwrap();
        assert_eq!(record, Record::default());
        let known = Known { checksum: "old".into(), ..Known::default() };
        assert!(record.note_healthy(known.clone()) && !record.note_healthy(known));
        record.note_given_up(given_up("new"));
        record.note_given_up(given_up("new"));
        record.write(folder.path()).unwrap();
        let read = Record::read(folder.path()).unwrap();
        assert_eq!(read, record);
        assert!(read.was_healthy("old") && read.gave_up("new").is_some() && read.given_up.len() == 1);
        assert_eq!(read.given_up_for("old").count(), 1);
        let told = "Version new was given up at now, as the host was not healthy: units: ssh.service is failed";
        assert_eq!(read.given_up[0].sentence(), told);
    }

    #[test]
    fn a_version_that_becomes_healthy_is_forgiven() {
        let mut record = Record::default();
        record.note_given_up(given_up("new"));
        assert!(record.note_healthy(Known { checksum: "new".into(), ..Known::default() }));
        assert!(record.gave_up("new").is_none());
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let mut record = Record::default();
        (0..100).for_each(|number| record.note_given_up(given_up(&number.to_string())));
        assert_eq!(record.given_up.len(), KEPT);
        assert!(record.gave_up("99").is_some());
    }
}
