//! Owns what can be wrong with a manifest, each problem with file, line and column.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// One thing wrong in a manifest; prints as `manifests/host.toml:12:3: ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named on the command line or by an `include`.
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

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The manifest, or a file it copies, could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file or folder to copy holds something that has no place in a root.
    #[error("{} cannot be copied: only files, folders and links can", path.display())]
    Special {
        /// The socket, device or fifo.
        path: PathBuf,
    },
    /// The manifest was read and is wrong; never empty.
    #[error("{}", lines(problems))]
    Invalid {
        /// Everything found, in the order of the files.
        problems: Vec<Problem>,
    },
    /// The manifest could not be written as JSON for its digest.
    #[error("cannot write the manifest as JSON")]
    Json(#[from] serde_json::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
