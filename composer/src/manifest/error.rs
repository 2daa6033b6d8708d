//! Owns why there is no manifest.

use std::io;
use std::path::PathBuf;

use keelson_common::strict::Problem;

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
