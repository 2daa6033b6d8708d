//! Lints: what a finished tree must and should be, checked before every commit and, on demand, over
//! any folder or commit. Each is a function from a [`Tree`] to the problems it found, named and
//! described in [`LINTS`].

mod accounts;
mod commit;
mod host;
mod identity;
mod kernel;
mod packages;
mod permissions;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::path::Path;

use serde::Serialize;

pub use tree::{Entry, Kind, Tree, TreeError};

use crate::layout::Accounts;

/// What a finding means for a compose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is committed.
    Fatal,
    /// It is said.
    Warning,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fatal => "fatal",
            Self::Warning => "warning",
        })
    }
}

/// What is known about a tree besides what is in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The locked accounts, when there is a lock.
    pub accounts: Option<&'a Accounts>,
    /// Kernel arguments that go into the commit's metadata.
    pub kargs: &'a [String],
}

/// One problem: where, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    path: String,
    message: String,
}

/// A problem at a path of the tree (no leading `/`; empty for the tree as a whole).
fn problem(path: &str, message: impl Into<String>) -> Problem {
    Problem { path: path.to_owned(), message: message.into() }
}

/// Problems of one lint that are told one by one.
const SHOWN: usize = 20;

/// What a lint found.
type Problems = Result<Vec<Problem>, TreeError>;

/// A check over a tree.
pub struct Lint {
    /// Its name, `host-keys`.
    pub id: &'static str,
    /// What its findings mean.
    pub level: Level,
    /// What it checks, in one line.
    pub doc: &'static str,
    check: fn(&Tree, &Context) -> Problems,
}

/// One problem that a lint found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The lint's name.
    pub lint: &'static str,
    /// What it means.
    pub level: Level,
    /// Where, as a path on the host; empty for the tree as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lint, level, path, message } = self;
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        write!(f, "{level}: {path}{message} [{lint}]")
    }
}

/// Every lint there is, in the order they run.
pub const LINTS: &[Lint] = &[
    fatal("usr-etc", "configuration is in /usr/etc, and there is no /etc", shape::usr_etc),
    fatal("top-level", "the top holds OSTree's folders and links, and nothing else", shape::top_level),
    fatal("var-empty", "/var is empty: tmpfiles.d makes what is in it", shape::var_empty),
    fatal("runtime-empty", "/boot, /dev, /proc, /run, /sys, /sysroot and /tmp are empty", shape::runtime_empty),
    fatal("special-files", "there are no device nodes, sockets or named pipes", shape::special_files),
    fatal("file-names", "every name is UTF-8", shape::file_names),
    fatal(
        "foreign-links",
        "no link leads to a folder that a host does not have, such as the build's",
        shape::foreign_links,
    ),
    fatal("host-keys", "there are no SSH host keys: each host makes its own", identity::host_keys),
    fatal("machine-id", "no machine-id is baked in", identity::machine_id),
    warning("private-keys", "there are no private TLS keys", identity::private_keys),
    fatal("kernel", "there is one kernel at most, and it has an initramfs", kernel::kernel),
    warning("no-kernel", "there is a kernel, so that the tree can boot", kernel::no_kernel),
    warning("boot-size", "kernel and initramfs are small enough for three deployments in /boot", kernel::boot_size),
    fatal("kargs", "kernel arguments are single words, and none that the image sets", kernel::kargs),
    fatal("accounts", "passwd and group agree with each other, and with shadow", accounts::consistent),
    fatal("account-ids", "accounts have the ids of the lock", accounts::as_locked),
    fatal("owners", "every file's owner and group are accounts of the tree", accounts::owners),
    warning("sysusers", "an upgraded host that keeps its own passwd gets every account", accounts::sysusers),
    fatal("dpkg-database", "dpkg's database is there, and every package is installed wholly", packages::database),
    fatal("leftovers", "dpkg and ucf left no file beside the one they installed", packages::leftovers),
    fatal("sandbox", "nothing of the compose's sandbox is left", packages::sandbox),
    fatal("var-tmpfiles", "all that packages ship in /var is made by tmpfiles.d", packages::var_tmpfiles),
    fatal("factory", "every file that tmpfiles.d copies is there to be copied", packages::factory),
    warning("setuid", "setuid and setgid programs belong to packages", permissions::setuid),
    fatal("world-writable", "nothing but sticky folders is writable by everyone", permissions::world_writable),
    fatal("os-release", "os-release says what this is", host::os_release),
    fatal("units", "every unit that is enabled exists", host::units),
    warning("python-cache", "compiled Python is not compiled again on the host", host::python_cache),
];

const fn fatal(id: &'static str, doc: &'static str, check: fn(&Tree, &Context) -> Problems) -> Lint {
    Lint { id, level: Level::Fatal, doc, check }
}

const fn warning(id: &'static str, doc: &'static str, check: fn(&Tree, &Context) -> Problems) -> Lint {
    Lint { id, level: Level::Warning, doc, check }
}

/// Runs every lint; the fatal findings come first.
pub fn run(tree: &Tree, context: &Context) -> Result<Vec<Finding>, TreeError> {
    let mut findings = Vec::new();
    for lint in LINTS {
        let mut problems = (lint.check)(tree, context)?;
        if problems.len() > SHOWN {
            let more = problems.split_off(SHOWN).len();
            problems.push(problem("", format!("and {more} more like these")));
        }
        for Problem { path, message } in problems {
            let path = if path.is_empty() { path } else { format!("/{path}") };
            findings.push(Finding { lint: lint.id, level: lint.level, path, message });
        }
    }
    findings.sort_by_key(|finding| finding.level);
    Ok(findings)
}

/// Runs every lint over a folder that is about to be committed.
pub fn check(root: &Path, context: &Context) -> Result<Vec<Finding>, TreeError> {
    run(&Tree::from_folder(root)?, context)
}
