//! Owns `Packages -> Rootfs`: packages are unpacked and configured in two layers, [`order`] says
//! which package is in which. The lower, slow one is kept in the cache and reused while its
//! packages are unchanged; the upper one is made anew for every compose, over it.

pub mod accounts;
pub mod build;
pub mod configure;
pub mod dpkg;
pub mod initramfs;
pub mod layer;
pub mod order;
pub mod owners;
pub mod sandbox;
pub mod tree;
pub mod unpack;
