//! What the composer and the agent both need and nothing else: running commands with errors worth
//! reading ([`command`]), writing files atomically ([`fs`]), where daemons log to ([`journal`]), the package list of a commit and the
//! difference between two ([`packages`]), the boot loader's own variables ([`grubenv`]), the metadata keys of our commits ([`commit`]), what a node tells
//! ([`node`]), giving memory back ([`memory`]), waiting until a daemon shall stop ([`signals`]), and reading what people write ([`strict`]).

pub mod command;
pub mod commit;
pub mod fs;
pub mod grubenv;
pub mod journal;
pub mod kubeconfig;
pub mod master;
pub mod memory;
pub mod node;
pub mod packages;
pub mod pki;
pub mod provision;
pub mod secret;
pub mod signals;
pub mod strict;
