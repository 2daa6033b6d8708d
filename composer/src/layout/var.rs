//! Owns `/var`: a commit has none, so what the packages put there is made at boot by tmpfiles.d:
//! folders and links as they are, files as copies from `/usr/share/factory`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::accounts::Accounts;
use super::dpkg;
use super::error::LayoutError;
use super::root::{Root, context};
use super::services;
use super::tmpfiles::{self, Entry, Line};

/// The file with our lines.
pub const TMPFILES: &str = "usr/lib/tmpfiles.d/keelson-var.conf";
/// Where files are copied from; systemd-tmpfiles's own default.
const FACTORY: &str = "usr/share/factory";

/// State of tools that run only while packages are installed, which on a host they are not, and
/// identities; with all that is below.
const DROPPED: [&str; 14] = [
    "var/.updated",
    "var/cache/debconf",
    "var/lib/dbus/machine-id",
    "var/lib/python",
    "var/lib/sgml-base",
    "var/lib/shells.state",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/deb-systemd-helper-enabled",
    "var/lib/systemd/deb-systemd-helper-masked",
    "var/lib/systemd/deb-systemd-user-helper-enabled",
    "var/lib/systemd/deb-systemd-user-helper-masked",
    "var/lib/systemd/random-seed",
    "var/lib/ucf",
    "var/lib/xml-core",
];

/// Folders whose files are not kept although the folders are: caches, logs, backups, downloads.
const FOLDERS_ONLY: [&str; 5] = ["var/backups", "var/cache", "var/lib/apt", "var/log", "var/tmp"];

/// Writes [`TMPFILES`] for what is in `/var`, moves the files to the factory and leaves `/var`
/// empty. Paths that the packages' tmpfiles.d lines make already get no line of ours.
pub fn empty(root: &Root, accounts: &Accounts) -> Result<(), LayoutError> {
    let mut survey = Survey {
        root,
        accounts,
        covered: tmpfiles::made_by_packages(root)?.into_iter().collect(),
        entries: BTreeMap::new(),
    };
    survey.folder("var")?;
    for (path, target) in [(dpkg::ADMIN_DIR, dpkg::IMAGE_DIR), (services::CATALOG, services::IMAGE_CATALOG)] {
        if root.stat(target)?.is_some() {
            survey.entries.insert(format!("/{path}"), Entry::Link(format!("/{target}")));
        }
    }
    let mut text = "# Made by keelson: what the packages of this host keep in /var.\n".to_owned();
    for (path, entry) in &survey.entries {
        text += &format!("{}\n", Line(path, entry));
    }
    root.write(TMPFILES, text, 0o644)?;
    root.clear("var")
}

struct Survey<'a> {
    root: &'a Root<'a>,
    accounts: &'a Accounts,
    covered: BTreeSet<String>,
    entries: BTreeMap<String, Entry>,
}

impl Survey<'_> {
    fn folder(&mut self, folder: &str) -> Result<(), LayoutError> {
        for name in self.root.list(folder)? {
            let path = format!("{folder}/{name}");
            if !DROPPED.contains(&path.as_str()) {
                self.item(path)?;
            }
        }
        Ok(())
    }

    fn item(&mut self, path: String) -> Result<(), LayoutError> {
        let Some(found) = self.root.stat(&path)? else { return Ok(()) };
        let absolute = format!("/{path}");
        let covered = self.covered.contains(&absolute);
        let mode = found.mode() & 0o7777;
        let owner = || (self.accounts.user_name(found.uid()), self.accounts.group_name(found.gid()));
        let kind = found.file_type();
        if kind.is_dir() {
            if !covered {
                let (user, group) = owner();
                self.entries.insert(absolute, Entry::Dir(mode, user, group));
            }
            return self.folder(&path);
        }
        if covered {
            return Ok(());
        }
        if kind.is_symlink() {
            let full = self.root.join(&path);
            let target = context("read the link", &full, fs::read_link(&full))?;
            self.entries.insert(absolute, Entry::Link(target.to_string_lossy().into_owned()));
        } else if kind.is_file() && found.len() == 0 && !noise(&path) {
            let (user, group) = owner();
            self.entries.insert(absolute, Entry::Empty(mode, user, group));
        } else if kind.is_file() && !FOLDERS_ONLY.iter().any(|folder| is_below(&path, folder)) {
            self.root.rename(&path, &format!("{FACTORY}/{path}"))?;
            self.entries.insert(absolute, Entry::Copy);
        }
        Ok(())
    }
}

/// Whether what a package ships at this path of `/var` (no leading `/`) is to be on a host: false
/// for the state of package tools.
pub fn is_kept(path: &str) -> bool {
    !DROPPED.iter().any(|dropped| path == *dropped || is_below(path, dropped)) && !is_below(path, dpkg::ADMIN_DIR)
}

/// An empty log that says who was here (`wtmp`) is wanted by its writers; other empty files in
/// such folders are locks and logs.
fn noise(path: &str) -> bool {
    let folders = FOLDERS_ONLY.iter().filter(|folder| **folder != "var/log");
    path.ends_with(".log") || path.ends_with("/lock") || folders.into_iter().any(|folder| is_below(path, folder))
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
