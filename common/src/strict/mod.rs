//! Files that people write, read strictly: every problem has file, line and column, and a key that
//! is none names the nearest that is one.

mod parse;
mod source;

pub use parse::{nearest, parse, parse_secret};
pub use source::{Site, Sited, Source};

use std::fmt;
use std::path::PathBuf;

/// One thing wrong in a file; prints as `manifests/host.toml:12:3: ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named on the command line or found.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.message)
    }
}
