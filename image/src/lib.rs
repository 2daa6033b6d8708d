//! Commit to disk: deploys a commit of an OSTree repository into a new sysroot and writes that,
//! with a partition table and a boot loader, into a disk image which boots on BIOS and on UEFI.
//!
//! ```text
//! ImageRequest -> source (commit, bootable?) -> sysroot (pulled and deployed in a folder)
//!              -> layout (pure: where everything lies) -> ext4, ESP, GPT, boot sector -> raw or qcow2
//! ```
//!
//! Nothing is mounted and no loop device is used: the file systems are made by `mke2fs -d` and mtools
//! inside the image file itself. [`build()`] is the only entry.

mod boot;
mod build;
mod error;
mod esp;
mod ext4;
mod grub;
mod ids;
mod kargs;
mod keys;
mod layout;
mod nosync;
mod partition;
mod request;
mod scratch;
mod source;
mod sysroot;
mod tools;
mod workdir;

pub use build::{Progress, Step, build};
pub use error::ImageError;
pub use ids::DiskIds;
pub use layout::{Extent, Layout};
pub use request::{Format, ImageReport, ImageRequest, StepTime};
pub use source::file_name;
