//! The composer: `Manifest -> Lock -> Packages -> Rootfs -> Commit`, each arrow one function in a
//! file of its own, and the verbs of `keelson` over them in [`cli`].

pub mod cli;
pub mod deb;
pub mod fetch;
pub mod layout;
pub mod lock;
pub mod manifest;
pub mod progress;
pub mod resolve;
pub mod settings;
