//! Owns why a volume cannot be had: [`Problem`] for what happens inside, [`VolumeError`] for others.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why a volume is not there (yet); the message names it and the remedy.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct VolumeError {
    /// The event's reason: `FailedMount`; `CreateContainerConfigError` for what one container asks for.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What is wrong with one volume.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The kernel said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `make`, `mount`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
    /// What is asked for cannot be given; a sentence that says why.
    #[error("{0}")]
    Refused(String),
}

impl Problem {
    /// The problem and what it comes from, in one line.
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        text
    }
}

/// Says what was tried when it failed.
pub trait At<T> {
    /// The error with what was tried on which path.
    fn at(self, action: &'static str, path: &Path) -> Result<T, Problem>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, Problem> {
        self.map_err(|error| Problem::Io { action, path: path.to_owned(), source: error.into() })
    }
}

/// A sentence as a problem.
pub fn refused<T>(message: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Refused(message.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_cause_once() {
        let failed: Result<(), _> = Err(io::Error::from_raw_os_error(2));
        let problem = failed.at("open", Path::new("/x")).unwrap_err();
        assert_eq!(problem.told(), "cannot open /x: No such file or directory (os error 2)");
        let problem: Result<(), _> = refused("no");
        assert_eq!(problem.unwrap_err().told(), "no");
    }
}
