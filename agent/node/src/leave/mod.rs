//! Owns how a machine stops being a node: its pods go elsewhere ([`drain`]), then everything of theirs
//! and of the node's is removed from it ([`remove`]).

pub mod drain;
pub mod remove;
