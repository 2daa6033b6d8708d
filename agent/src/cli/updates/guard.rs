//! Owns that one at a time acts: the agent, or a person's keelctl.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// The file that is held.
const PATH: &str = "/run/keelson/update.guard";

/// It is held for as long as this is kept, and not beyond the program's end however it ends.
#[derive(Debug)]
pub struct Guard(#[expect(dead_code, reason = "holds the lock")] File);

/// Takes it, or tells who is in the way.
pub fn take() -> anyhow::Result<Guard> {
    match try_take()? {
        Some(guard) => Ok(guard),
        None => bail!(
            "a reboot is under way already: keelson-update.service or another keelctl is at it; `keelctl updates` \
            shows how far it is"
        ),
    }
}

/// Takes it if nobody has it.
pub fn try_take() -> anyhow::Result<Option<Guard>> {
    let path = Path::new(PATH);
    fs::create_dir_all(path.parent().unwrap_or(path)).context("cannot make /run/keelson")?;
    // Who may read a file may lock it.
    let file = File::options().create(true).append(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot open {PATH}"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Guard(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {PATH}")),
    }
}

/// Refuses who is not root.
pub fn need_root(verb: &str) -> anyhow::Result<()> {
    let root = nix::unistd::geteuid().is_root();
    ensure!(root, "`keelctl updates {verb}` needs root; try `sudo keelctl updates {verb}`");
    Ok(())
}
