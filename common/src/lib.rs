//! What the composer and the agent both need and nothing else: running commands with errors worth
//! reading ([`command`]), writing files atomically ([`fs`]), the package list of a commit and the
//! difference between two ([`packages`]), and the metadata keys of our commits ([`commit`]).

pub mod command;
pub mod commit;
pub mod fs;
pub mod packages;
