//! Owns logs of containers: reading and following what containerd wrote in the CRI's format, and
//! keeping them small.
//!
//! Reading is pure but for [`reader`], which moves bytes from a file through a [`filter::Filter`] to whoever
//! asked; [`rotate`] is a task of its own.

mod filter;
mod line;
mod options;
mod reader;
mod rotate;
mod tail;
mod watch;

pub use options::{Options, OptionsError, Stream};
pub use reader::{Source, send};
pub(crate) use rotate::{MAX_FILES, MAX_SIZE};
pub use rotate::{remove, run};
