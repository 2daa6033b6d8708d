//! Owns what a `.deb` file is: the archive around it ([`archive`]) and the control data inside
//! ([`control`]).

pub mod archive;
pub mod control;
