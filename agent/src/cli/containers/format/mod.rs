//! How things look: lengths of time, sizes, tables, ports. Pure, and as Docker's client shows them.

pub mod ago;
pub mod choice;
pub mod name;
pub mod ports;
pub mod size;
pub mod table;
pub mod template;
