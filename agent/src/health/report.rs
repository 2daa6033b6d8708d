//! Owns the document of `keelctl health --json`: what each check found.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It is well.
    Good,
    /// It is not, and the host is none the worse for it.
    Warning,
    /// It is not, or not yet, and so the host is not.
    Bad,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it stands.
    pub standing: Standing,
    /// In words.
    pub message: String,
}

impl Check {
    /// A check that found this.
    pub fn new(name: impl Into<String>, standing: Standing, message: impl Into<String>) -> Self {
        Self { name: name.into(), standing, message: message.into() }
    }
}

/// What all checks found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether the host is well.
    pub healthy: bool,
    /// Each check.
    pub checks: Vec<Check>,
}

impl Report {
    /// Of these checks.
    pub fn new(checks: Vec<Check>) -> Self {
        Self { healthy: checks.iter().all(|check| check.standing != Standing::Bad), checks }
    }

    /// What is not well: a line each.
    pub fn problems(&self) -> Vec<String> {
        let bad = self.checks.iter().filter(|check| check.standing == Standing::Bad);
        bad.map(|check| format!("{}: {}", check.name, check.message)).collect()
    }

    /// A line for each check, and the verdict.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Check { name, standing, message } in &self.checks {
            let word = match standing {
                Standing::Good => "ok",
                Standing::Warning => "warning",
                Standing::Bad => "BAD",
            };
            let _ = writeln!(text, "{word:<8} {name}: {message}");
        }
        text + if self.healthy { "This host is healthy." } else { "This host is not healthy." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_alone_makes_no_host_unhealthy() {
        let mut checks =
            vec![Check::new("keeld", Standing::Good, "answers"), Check::new("x", Standing::Warning, "is odd")];
        assert!(Report::new(checks.clone()).healthy);
        checks.push(Check::new("units", Standing::Bad, "ssh.service is failed"));
        let report = Report::new(checks);
        assert!(!report.healthy);
        assert_eq!(report.problems(), ["units: ssh.service is failed"]);
        assert!(report.text().contains("BAD      units: ssh.service is failed\nThis host is not healthy."));
    }
}
