//! Owns the manifest: what a host is made of, validated and with its includes merged in. The rest
//! of the composer sees only [`Manifest`]; what a person writes is parsed strictly elsewhere in
//! this module: text -> `raw` -> (`validate`) -> one `Layer` a file -> (`include`) -> (`finish`) ->
//! [`Manifest`].

mod digest;
mod error;
mod files;
mod finish;
mod include;
mod load;
mod parse;
mod raw;
mod syntax;
#[cfg(test)]
mod tests;
mod validate;

pub use error::ManifestError;
pub use files::{Entry, EntryKind};
pub use keelson_common::strict::Problem;
pub use load::load;
pub use syntax::hostname;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// A validated manifest; every path is absolute, every list free of duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The file it was read from.
    #[serde(skip)]
    pub path: PathBuf,
    /// Product name, `keelson-host`.
    pub name: String,
    /// The OSTree ref composed to, `keelson/host/amd64`.
    #[serde(rename = "ref")]
    pub reference: String,
    /// How versions are made.
    pub version: VersionRule,
    /// Debian architecture, `amd64`.
    pub architecture: String,
    /// Suites to install from, in the order written; the first is the base suite.
    pub repositories: Vec<Repository>,
    /// Folders whose `.deb` files are a repository of their own.
    #[serde(skip)]
    pub local: Vec<PathBuf>,
    /// Packages to install, sorted; apt's syntax `name`, `name=version`, `name/suite`.
    pub packages: Vec<String>,
    /// Packages that must not be installed, sorted.
    pub exclude: Vec<String>,
    /// Whether recommended packages are installed too.
    pub recommends: bool,
    /// Files and folders to copy in, in this order: a later one writes over an earlier one.
    pub files: Vec<FileCopy>,
    /// systemd units by what is done to them.
    pub units: Units,
    /// System users to create.
    pub users: Vec<User>,
    /// System groups to create.
    pub groups: Vec<Group>,
    /// Default kernel arguments.
    pub kargs: Vec<String>,
    /// Default hostname.
    pub hostname: Option<String>,
    /// Fields set in `os-release`.
    pub os_release: BTreeMap<String, String>,
    /// Dracut modules and drivers of the initramfs.
    pub initramfs: Initramfs,
    /// URL hosts update from.
    pub update_url: Option<String>,
    /// Scripts run in the finished root, without network.
    pub postprocess: Vec<Script>,
    /// Container images that the host has from the start, in the order written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

/// How a compose names its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionRule {
    /// This text, always.
    Fixed(String),
    /// A prefix and a number one higher than the previous commit's: `13.0`, `13.1`, ...
    Counter {
        /// What stands before the number, `13.`.
        prefix: String,
    },
}

/// One APT suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// Short name used in the lock and in messages, `trixie`, `trixie-security`.
    pub name: String,
    /// The archive on the Debian mirror, `debian` or `debian-security`; means nothing with `uri`.
    pub archive: String,
    /// Where it is; `None` is `archive` on the Debian mirror of the composer's settings.
    pub uri: Option<String>,
    /// `trixie`.
    pub suite: String,
    /// `main`, ...; empty for a flat repository whose suite ends in `/`.
    pub components: Vec<String>,
    /// Keyring that must have signed it; `None` is Debian's archive keyring.
    #[serde(skip)]
    pub key: Option<PathBuf>,
}

/// A file or folder of the build machine copied into the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileCopy {
    /// Where it is on the build machine; `None` with `content`.
    #[serde(skip)]
    pub source: Option<PathBuf>,
    /// Its text, written in the manifest itself.
    pub content: Option<String>,
    /// Where it goes, `/etc/motd`; of a folder, where its content goes.
    pub target: String,
    /// Permission bits of files; `None` keeps the source's executable bit (0644 or 0755).
    pub mode: Option<u32>,
    /// Owner's name, `root` by default.
    pub user: String,
    /// Group's name, `root` by default.
    pub group: String,
}

/// systemd units by what is done to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Units {
    /// Enabled by preset.
    pub enable: Vec<String>,
    /// Disabled by preset.
    pub disable: Vec<String>,
    /// Linked to /dev/null.
    pub mask: Vec<String>,
    /// The default target, `multi-user.target`.
    pub default: Option<String>,
}

/// A system user created through sysusers.d.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Fixed uid; `None` takes the lock's or the next free one.
    pub uid: Option<u32>,
    /// Primary group, the user's own by default.
    pub group: Option<String>,
    /// Home folder.
    pub home: Option<String>,
    /// Login shell.
    pub shell: Option<String>,
    /// Further groups.
    pub groups: Vec<String>,
}

/// A system group created through sysusers.d.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Name.
    pub name: String,
    /// Fixed gid.
    pub gid: Option<u32>,
}

/// What goes into the initramfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Initramfs {
    /// Dracut modules left out.
    pub omit: Vec<String>,
    /// Dracut modules added.
    pub add: Vec<String>,
    /// Kernel drivers added.
    pub drivers: Vec<String>,
}

/// A container image that becomes part of the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// What containers call it, whole: `docker.io/library/debian:13`.
    pub name: String,
    /// The name it is fetched by, when that is another.
    pub from: Option<String>,
    /// The archive it is taken from instead of a registry; the lock holds its digest.
    #[serde(skip)]
    pub archive: Option<PathBuf>,
    /// Where it is written, `manifests/host.toml:12`, for messages.
    #[serde(skip)]
    pub site: String,
}

/// A script and its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Script {
    /// The file it was read from, for messages; the manifest itself for an inline script.
    #[serde(skip)]
    pub origin: PathBuf,
    /// Its text, run by its `#!` line or `/bin/sh`.
    pub text: String,
}
