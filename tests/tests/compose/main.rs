//! Composing and what comes of it, on the build machine: no virtual machine is needed. One program, so that
//! what waits for downloads and what computes are beside each other.

mod again;
mod disk;
mod diverts;
mod fails_late;
mod images;
mod lints;
mod refuses;
mod stock_ostree;
