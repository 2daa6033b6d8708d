//! Owns what is said of each part of a host's set-up: applied, unchanged, or refused and why.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::cli::files;

/// What came of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "message", rename_all = "lowercase")]
pub enum Outcome {
    /// It was changed; how.
    Applied(String),
    /// It was so already; what.
    Unchanged(String),
    /// It was left as it is; why, and what to do.
    Refused(String),
}

/// A part and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its key.
    pub part: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Part {
    /// A part.
    pub fn new(part: &str, outcome: Outcome) -> Self {
        Self { part: part.to_owned(), outcome }
    }
}

/// What came of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Each part.
    pub parts: Vec<Part>,
}

impl Report {
    /// Takes in what came of a part.
    pub fn add(&mut self, part: &str, done: anyhow::Result<Outcome>) {
        let outcome = done.unwrap_or_else(|error| Outcome::Refused(format!("{error:#}")));
        self.parts.push(Part::new(part, outcome));
    }

    /// Takes in what came of a part that may not have been asked for.
    pub fn add_asked(&mut self, part: &str, done: anyhow::Result<Option<Outcome>>) {
        if let Some(done) = done.transpose() {
            self.add(part, done);
        }
    }

    /// Whether anything was refused.
    pub fn refused(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.outcome, Outcome::Refused(_)))
    }

    /// A line for each part.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Part { part, outcome } in &self.parts {
            let (word, message) = match outcome {
                Outcome::Applied(message) => ("applied", message),
                Outcome::Unchanged(message) => ("unchanged", message),
                Outcome::Refused(message) => ("REFUSED", message),
            };
            let _ = writeln!(text, "{part}: {word}: {message}");
        }
        if text.is_empty() {
            "Nothing was asked for: no `keelson:` in cloud-init's data, no host.toml.".to_owned()
        } else {
            text
        }
    }

    /// Writes it, for [`Report::read`]. It names values that were refused for what they say, and such as a URL that was
    /// applied, so that it is for root alone.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        files::write(path, &serde_json::to_string_pretty(self)?, 0o640)
    }

    /// Reads it.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = files::read(path)?.with_context(|| {
            let path = path.display();
            format!("{path} is not there: was this host set up at this boot? See `systemctl status keelson-provision`")
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_told_in_lines() {
        let mut report = Report::default();
        assert!(!report.refused() && report.text().starts_with("Nothing was asked for"));
        report.add("join", Ok(Outcome::Applied("a node of https://m".into())));
        report.add("update", Err(anyhow::anyhow!("no").context("keeld")));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keelson/provision.json");
        report.write(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(Report::read(&path).unwrap(), report);
        assert_eq!(report.text(), "join: applied: a node of https://m\nupdate: REFUSED: keeld: no\n");
        assert!(report.refused());
    }
}
