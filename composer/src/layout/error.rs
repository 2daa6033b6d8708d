//! Owns what can go wrong while a root is customised and laid out.

use std::io;
use std::path::PathBuf;

/// Any error of a program run in the root.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A root that could not be customised or laid out.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, `write`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Something is mounted where the layout step would delete.
    #[error("{} is a mount point: unmount it before the root is laid out", path.display())]
    Mounted {
        /// The folder.
        path: PathBuf,
    },
    /// A path of the root cannot be followed.
    #[error("{path}: too many symbolic links, or one of its folders is a file")]
    Unresolvable {
        /// The path inside the root.
        path: String,
    },
    /// The manifest names an account that the root does not have.
    #[error("files: {target}: the root has no {kind} `{name}`: name one it has, or create it in the manifest")]
    NoAccount {
        /// The file's target.
        target: String,
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The manifest names a unit that the root does not have.
    #[error("units: the root has no unit `{unit}`{}", hint.as_ref().map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default())]
    NoUnit {
        /// The unit.
        unit: String,
        /// The nearest unit there is.
        hint: Option<String>,
    },
    /// A program run in the root failed.
    #[error("`{command}` failed in the root")]
    Run {
        /// The command line, or the script's file.
        command: String,
        /// What the sandbox says.
        source: BoxError,
    },
    /// The root has more kernels than one.
    #[error("the root has {} kernels ({}): keep one of them", found.len(), found.join(", "))]
    Kernels {
        /// Their versions.
        found: Vec<String>,
    },
    /// A file that the layout step reads has a line it cannot read.
    #[error("{path}:{line}: {reason}")]
    Syntax {
        /// The path inside the root.
        path: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
}
