//! Containers on a real containerd, no virtual machine: each test has a host of its own
//! ([`keelson_tests::containers`]) and ends with nothing left behind.

mod cli;
mod contained;
mod crash;
mod declared;
mod faults;
mod images;
mod many;
mod network;
mod registries;
mod stock_images;
mod tools;
mod walk;
