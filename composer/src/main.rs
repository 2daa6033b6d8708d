//! The build-machine program.
fn main() {}
