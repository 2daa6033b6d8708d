//! Tests of whole disks: one program, so that they share one support module. They take root (or a
//! user namespace with a range of ids), as making disks does.

mod disk;
mod refusals;
mod support;
