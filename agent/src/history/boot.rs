//! Owns the judgement over a boot, purely: from the history, what booted, and what libostree left
//! behind.

use super::log::{Entry, Event};

/// What there is to know about the present boot.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The kernel's id of this boot.
    pub boot_id: String,
    /// The commit that runs.
    pub checksum: String,
    /// The version that runs.
    pub version: Option<String>,
    /// The commit of the first boot entry, which boots unless a person chooses another.
    pub first: Option<String>,
    /// Why `ostree-finalize-staged.service` failed at the last shutdown, where it did.
    pub finalize_failure: Option<String>,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootVerdict {
    /// keeld was only restarted: this boot is in the history already.
    Known,
    /// What should boot, booted.
    AsExpected {
        /// What made it the one to boot, where something did since the boot before.
        by: Option<Event>,
    },
    /// Something else should have booted.
    Missed {
        /// The version that should have.
        expected: String,
        /// Why it did not, as far as can be told.
        reason: String,
    },
}

/// Judges this boot.
pub fn judge(history: &[Entry], now: &Observed) -> BootVerdict {
    let booted = |entry: &&Entry| matches!(entry.event, Event::Booted | Event::BootFailed);
    if history.iter().rev().find(booted).is_some_and(|last| last.boot_id.as_deref() == Some(&now.boot_id)) {
        return BootVerdict::Known;
    }
    let since = history.iter().rev().take_while(|entry| !booted(entry));
    let Some(wanted) = since.filter(|entry| entry.event.sets_next_boot()).find(|entry| entry.checksum.is_some()) else {
        return BootVerdict::AsExpected { by: None };
    };
    if wanted.checksum.as_deref() == Some(&now.checksum) && now.finalize_failure.is_none() {
        return BootVerdict::AsExpected { by: Some(wanted.event) };
    }
    let checksum = wanted.checksum.as_deref().unwrap_or_default();
    let reason = match &now.finalize_failure {
        Some(failure) => format!("it was not finalized: {failure}"),
        None if now.first.as_deref() == Some(checksum) => {
            "its boot entry is the first, so another was chosen in the boot menu or it failed to boot".to_owned()
        }
        None => "it was not finalized: the host went down without a clean shutdown, or it was removed".to_owned(),
    };
    let expected = crate::model::status::label(wanted.version.as_deref(), checksum).to_owned();
    BootVerdict::Missed { expected, reason }
}

impl BootVerdict {
    /// The plain line keeld logs, if there is anything to say.
    pub fn line(&self, now: &Observed) -> Option<String> {
        let label = crate::model::status::label(now.version.as_deref(), &now.checksum);
        match self {
            BootVerdict::Known => None,
            BootVerdict::AsExpected { by: None } => Some(format!("booted version {label}, the same as before")),
            BootVerdict::AsExpected { by: Some(Event::RolledBack) } => {
                Some(format!("booted version {label}, the one that was rolled back to"))
            }
            BootVerdict::AsExpected { by: Some(_) } => {
                Some(format!("booted version {label}, the one that was staged before"))
            }
            BootVerdict::Missed { expected, reason } => {
                Some(format!("booted version {label}; staged version {expected} did not boot: {reason}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: Event, checksum: &str, boot: &str) -> Entry {
        Entry {
            time: String::new(),
            event,
            version: Some(format!("v{checksum}")),
            checksum: Some(checksum.into()),
            uid: None,
            boot_id: Some(boot.into()),
            message: None,
        }
    }

    fn now(checksum: &str, first: &str) -> Observed {
        Observed {
            boot_id: "now".into(),
            checksum: checksum.into(),
            version: Some(format!("v{checksum}")),
            first: Some(first.into()),
            finalize_failure: None,
        }
    }

    #[test]
    fn a_restart_of_keeld_is_no_boot() {
        let history = [entry(Event::Booted, "1", "now"), entry(Event::Upgraded, "2", "now")];
        assert_eq!(judge(&history, &now("1", "1")), BootVerdict::Known);
    }

    #[test]
    fn the_staged_version_booted() {
        let history = [entry(Event::Booted, "1", "old"), entry(Event::Upgraded, "2", "old")];
        let seen = now("2", "2");
        let verdict = judge(&history, &seen);
        assert_eq!(verdict, BootVerdict::AsExpected { by: Some(Event::Upgraded) });
        assert_eq!(verdict.line(&seen).unwrap(), "booted version v2, the one that was staged before");
    }

    #[test]
    fn the_last_change_counts() {
        let history = [
            entry(Event::Booted, "1", "old"),
            entry(Event::Upgraded, "2", "old"),
            entry(Event::RolledBack, "1", "old"),
            entry(Event::Pinned, "2", "old"),
        ];
        let seen = now("1", "1");
        assert_eq!(judge(&history, &seen).line(&seen).unwrap(), "booted version v1, the one that was rolled back to");
    }

    #[test]
    fn an_ordinary_boot() {
        assert_eq!(judge(&[], &now("1", "1")), BootVerdict::AsExpected { by: None });
        let history = [entry(Event::Upgraded, "2", "older"), entry(Event::Booted, "2", "old")];
        assert_eq!(judge(&history, &now("2", "2")), BootVerdict::AsExpected { by: None });
    }

    #[test]
    fn a_missed_boot_says_why() {
        let history = [entry(Event::Booted, "1", "old"), entry(Event::Upgraded, "2", "old")];
        let reason = |seen: &Observed| judge(&history, seen).line(seen).unwrap();
        assert!(reason(&now("1", "1")).contains("staged version v2 did not boot: it was not finalized: the host went"));
        assert!(reason(&now("1", "2")).contains("chosen in the boot menu"));
        let failed = Observed { finalize_failure: Some("no space".into()), ..now("1", "1") };
        assert!(reason(&failed).contains("not finalized: no space"));
    }
}
