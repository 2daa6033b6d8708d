//! The D-Bus interface `org.keelson.Host1`: what keeld serves ([`server`]), how keelctl calls it
//! ([`client`]), who may do what ([`polkit`]) and how refusals are named ([`error`]).

pub mod client;
pub mod error;
pub mod polkit;
pub mod server;

/// The well-known name keeld owns.
pub const BUS_NAME: &str = "org.keelson.Host1";
/// The one object it serves.
pub const OBJECT_PATH: &str = "/org/keelson/Host1";
