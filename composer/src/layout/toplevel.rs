//! Owns the top of the tree: `/etc` becomes `/usr/etc`, what is of the host and not of the commit
//! becomes links into `/var`, and the empty folders that things are mounted on are there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::error::LayoutError;
use super::root::{Root, context};
use super::tmpfiles::MOVED;

/// Folders at the top with nothing in them, and their modes.
const FOLDERS: [(&str, u32); 9] = [
    ("boot", 0o755),
    ("dev", 0o755),
    ("media", 0o755),
    ("proc", 0o755),
    ("run", 0o755),
    ("sys", 0o755),
    ("sysroot", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
];

/// Moves `/home`, `/root`, `/opt` and the like below `/var` and leaves links. What packages have in
/// `/opt` and files in `/usr/local` stay in the commit, under `/usr/lib`, with links to them, so
/// that an upgrade brings the new ones.
pub fn move_into_var(root: &Root) -> Result<(), LayoutError> {
    for name in root.list("opt")? {
        keep(root, &format!("opt/{name}"), &format!("usr/lib/opt/{name}"))?;
    }
    keep_files(root, "usr/local", "usr/lib/local")?;
    for (from, to) in MOVED {
        match root.stat(from)? {
            Some(found) if found.is_dir() => merge(root, from, to)?,
            Some(found) if found.is_symlink() => continue,
            _ => {
                root.make_dir(to)?;
                set_mode(root, to, if from == "root" { 0o700 } else { 0o755 })?;
            }
        }
        root.link(from, &format!("{}{to}", "../".repeat(from.matches('/').count())))?;
    }
    Ok(())
}

fn keep(root: &Root, from: &str, to: &str) -> Result<(), LayoutError> {
    root.rename(from, to)?;
    root.link(from, &format!("/{to}"))
}

fn keep_files(root: &Root, from: &str, to: &str) -> Result<(), LayoutError> {
    for name in root.list(from)? {
        let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
        match root.stat(&from)? {
            Some(found) if found.is_dir() => keep_files(root, &from, &to)?,
            Some(found) if found.is_file() => keep(root, &from, &to)?,
            _ => {}
        }
    }
    Ok(())
}

/// Moves a folder, or what it holds when there is one at the target.
fn merge(root: &Root, from: &str, to: &str) -> Result<(), LayoutError> {
    if root.stat(to)?.is_none() {
        return root.rename(from, to);
    }
    for name in root.list(from)? {
        let (from, to) = (format!("{from}/{name}"), format!("{to}/{name}"));
        if root.is_dir(&from)? && root.is_dir(&to)? {
            merge(root, &from, &to)?;
        } else {
            root.rename(&from, &to)?;
        }
    }
    root.remove(from)
}

fn set_mode(root: &Root, relative: &str, mode: u32) -> Result<(), LayoutError> {
    let path = root.join(relative);
    context("set the mode of", &path, fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
}

/// Moves `/etc` and makes the rest of the top.
pub fn finish(root: &Root) -> Result<(), LayoutError> {
    if root.is_dir("etc")? {
        root.remove("usr/etc")?;
        root.rename("etc", "usr/etc")?;
    }
    for (folder, mode) in FOLDERS {
        root.make_dir(folder)?;
        set_mode(root, folder, mode)?;
    }
    root.link("ostree", "sysroot/ostree")
}
