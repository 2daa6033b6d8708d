//! The composer: `Manifest -> Lock -> Packages -> Rootfs -> Commit`, each arrow one function in a
//! file of its own, and the verbs of `keelson` over them in [`cli`].

pub mod cli;
pub mod cluster;
pub mod commit;
pub mod compose;
pub mod deb;
pub mod diff;
pub mod expand;
pub mod fetch;
pub mod images;
pub mod layout;
pub mod lint;
pub mod lock;
pub mod manifest;
pub mod progress;
pub mod resolve;
pub mod rootfs;
pub mod seed;
pub mod serve;
pub mod settings;
