//! Owns what must not be in a commit: identities, traces of the build machine, leftovers of dpkg
//! and of the tools that edit accounts.

use std::os::unix::fs::MetadataExt;

use super::error::LayoutError;
use super::root::{Root, context};
use crate::manifest::Manifest;

/// Folders whose content is of the running system only.
const RUNTIME: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Files of `/etc` that are backups, locks or state of the machine they were made on.
const ETC: [&str; 11] = [
    ".pwd.lock",
    ".updated",
    "adjtime",
    "group-",
    "gshadow-",
    "passwd-",
    "shadow-",
    "subgid-",
    "subuid-",
    "udev/hwdb.bin",
    "machine-info",
];

/// How names end that dpkg and ucf leave beside a configuration file.
pub const LEFTOVERS: [&str; 7] =
    [".dpkg-new", ".dpkg-tmp", ".dpkg-dist", ".dpkg-old", ".ucf-new", ".ucf-dist", ".ucf-old"];

/// systemd's word for a machine-id that the first boot is to make; unlike an absent file it also
/// works where `/etc` is still read-only, and unlike an empty one it lets `ConditionFirstBoot=` hold.
pub const MACHINE_ID: &str = "uninitialized\n";

/// Fails when a folder that is about to be emptied is a mount point: what is below would be the
/// build machine's.
pub fn check_mounts(root: &Root) -> Result<(), LayoutError> {
    let top = context("look at", root.0, root.0.metadata())?.dev();
    for folder in RUNTIME.into_iter().chain(["boot", "etc", "home", "opt", "root", "srv", "usr", "var"]) {
        if root.stat(folder)?.is_some_and(|found| found.dev() != top) {
            return Err(LayoutError::Mounted { path: root.join(folder) });
        }
    }
    Ok(())
}

/// Removes it all.
pub fn clean(root: &Root, manifest: &Manifest) -> Result<(), LayoutError> {
    for folder in RUNTIME {
        root.clear(folder)?;
    }
    for name in ETC {
        root.remove(&format!("etc/{name}"))?;
    }
    for name in root.list("etc/ssh")? {
        if is_host_key(&name) {
            root.remove(&format!("etc/ssh/{name}"))?;
        }
    }
    let placed = |target: &str| manifest.files.iter().any(|file| file.target == target);
    if manifest.hostname.is_none() && !placed("/etc/hostname") {
        root.remove("etc/hostname")?;
    }
    // A link is the host's own resolver; a file is the build machine's.
    if root.stat("etc/resolv.conf")?.is_some_and(|found| found.is_file()) && !placed("/etc/resolv.conf") {
        root.remove("etc/resolv.conf")?;
    }
    if root.is_dir("etc")? {
        root.write("etc/machine-id", MACHINE_ID, 0o444)?;
        leftovers(root, "etc")?;
    }
    Ok(())
}

/// Whether a name in `/etc/ssh` is an SSH host key, private or public, or a certificate of one.
pub fn is_host_key(name: &str) -> bool {
    name.starts_with("ssh_host_") && name.contains("key")
}

fn leftovers(root: &Root, folder: &str) -> Result<(), LayoutError> {
    for name in root.list(folder)? {
        let path = format!("{folder}/{name}");
        if LEFTOVERS.iter().any(|end| name.ends_with(end)) {
            root.remove(&path)?;
        } else if root.is_dir(&path)? {
            leftovers(root, &path)?;
        }
    }
    Ok(())
}
