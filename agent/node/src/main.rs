//! `keeld node`, a program of its own; see [`keelson_node`].

fn main() {}
