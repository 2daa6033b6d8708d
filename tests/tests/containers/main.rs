//! Containers on a real containerd, no virtual machine: each test has a host of its own
//! ([`keelson_tests::containers`]) and ends with nothing left behind.

mod contained;
mod crash;
mod faults;
mod images;
mod many;
mod registries;
mod tools;
mod walk;
