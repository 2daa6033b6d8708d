//! Pure parsers of what is written on the command line, in Docker's grammar and with its words for
//! what is wrong. One file a kind; each turns text into the type that crosses the API. What declarations
//! are written in, too, is in [`keelson_containers::words`].

pub mod duration;
pub mod environment;
pub mod hosts;
pub mod keys;
pub mod mount;
pub mod restart;
pub mod security;
pub mod size;
pub mod time;
pub mod ulimit;
pub mod volume;
