//! The master's keys and certificates: which there are ([`identity`]), who signs them ([`authority`]),
//! and reading what is there ([`read`]).

pub mod authority;
pub mod identity;
pub mod read;
