//! Owns the folders of throw-away hosts and control planes: all that belongs to one is named after its
//! folder, which is named after its test, so that what a killed test leaves can be found and removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;

use super::host::runc_state;
use super::leaks;

/// The prefix of all folders; the pid of their test follows.
const PREFIX: &str = "keelson-test-";

/// Takes down what there is of a host that could not be started whole.
pub(crate) struct Teardown<'a>(pub(crate) &'a Path);

impl Drop for Teardown<'_> {
    fn drop(&mut self) {
        teardown(self.0);
    }
}

/// Removes everything of the host in `folder`, which may have lost its test long ago.
pub(crate) fn teardown(folder: &Path) {
    leaks::end_all(folder, &cgroup(folder));
    for namespace in namespaces(folder) {
        let _ = Command::new("ip").args(["netns", "delete", &namespace]).run();
    }
    for left in [folder, &runc_state(folder)] {
        let _ = fs::remove_dir_all(left);
    }
}

/// Takes down hosts whose test was killed.
pub(crate) fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let owner =
            path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid: u32| pid != process::id() && !Path::new(&format!("/proc/{pid}")).exists()) {
            teardown(&path);
        }
    }
}

/// Makes a folder for one host of this test.
pub(crate) fn new_folder() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", process::id()));
    // Of a test long ago that had the same pid.
    if folder.exists() {
        teardown(&folder);
    }
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// What the host in `folder` calls its network namespace; those of its neighbours begin with it.
pub(crate) fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What it calls the cgroup of its containers. In the name of a slice, `-` would be a folder.
pub(crate) fn cgroup(folder: &Path) -> String {
    name(folder).replace('-', "_")
}

/// The network namespaces there are of the host in `folder`.
fn namespaces(folder: &Path) -> Vec<String> {
    let name = name(folder);
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|other| other.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
        .collect()
}
