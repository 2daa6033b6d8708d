//! Owns noting each boot: the plain line in the journal and the entry in the history that say
//! which version booted and whether it is the one that should have.

use std::fs;
use std::process::Command;

use keelson_common::command::CommandExt;

use crate::history::{BootVerdict, Entry, Event, Log, Observed, boot};
use crate::model::{HostStatus, time};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Where finalizing at shutdown leaves why it failed.
const FAILURE_STAMP: &str = "/boot/ostree/finalize-failure.stamp";
/// The unit that finds the stamp at the next boot, says it and removes it.
const STAMP_READER: &str = "ostree-boot-complete.service";
/// How that unit words it.
const STAMP_WORDS: &str = "ostree-finalize-staged.service failed on previous boot: ";

/// The kernel's id of this boot.
pub fn id() -> Option<String> {
    fs::read_to_string(BOOT_ID).ok().map(|text| text.trim().to_owned())
}

/// Judges this boot, once; a sysroot that is not booted has none.
pub fn record(log: &Log, status: &HostStatus, boot_id: Option<&str>) {
    let (Some(booted), Some(boot_id)) = (&status.booted, boot_id) else { return };
    let history = log.read().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read the history");
        Vec::new()
    });
    let now = Observed {
        boot_id: boot_id.to_owned(),
        checksum: booted.checksum.clone(),
        version: booted.version.clone(),
        first: status.next_boot().map(|deployment| deployment.checksum.clone()),
        finalize_failure: finalize_failure(),
    };
    let verdict = boot::judge(&history, &now);
    let Some(line) = verdict.line(&now) else { return };
    let event = match verdict {
        BootVerdict::Missed { .. } => {
            tracing::warn!(version = now.version, checksum = now.checksum, "{line}");
            Event::BootFailed
        }
        BootVerdict::AsExpected { .. } | BootVerdict::Known => {
            tracing::info!(version = now.version, checksum = now.checksum, "{line}");
            Event::Booted
        }
    };
    let entry = Entry {
        time: time::rfc3339(time::now()),
        event,
        version: now.version,
        checksum: Some(now.checksum),
        uid: None,
        boot_id: Some(now.boot_id),
        message: Some(line),
    };
    if let Err(error) = log.append(&entry) {
        tracing::warn!(%error, "cannot write the history");
    }
}

/// Why the last shutdown did not finalize the staged deployment, where libostree left a word.
fn finalize_failure() -> Option<String> {
    if let Ok(text) = fs::read_to_string(FAILURE_STAMP) {
        return Some(text.trim().to_owned());
    }
    let journal = Command::new("journalctl")
        .args(["--boot", "--output=cat", "--no-pager", "--quiet", "--unit", STAMP_READER])
        .output_text()
        .inspect_err(|error| tracing::debug!(%error, "cannot read the journal"))
        .ok()?;
    stamp_in(&journal)
}

fn stamp_in(journal: &str) -> Option<String> {
    journal.lines().find_map(|line| line.split_once(STAMP_WORDS)).map(|(_, reason)| reason.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_reason_in_the_journal() {
        let journal = "Starting...\nerror: ostree-finalize-staged.service failed on previous boot: No space left\n";
        assert_eq!(stamp_in(journal).as_deref(), Some("No space left"));
        assert_eq!(stamp_in("Finished.\n"), None);
    }
}
