//! Owns the history file: append-only JSON lines, one an event, newest last.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, RFC 3339.
    pub time: String,
    /// What.
    pub event: Event,
    /// The version concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The kernel's id of the boot it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The host booted a version.
    Booted,
    /// The host booted, but not the version that was to boot.
    BootFailed,
    /// A version was staged (or deployed) by an upgrade.
    Upgraded,
    /// A version was downloaded.
    Downloaded,
    /// Another ref is followed.
    Rebased,
    /// The other deployment boots next.
    RolledBack,
    /// Kernel arguments changed.
    Kargs,
    /// A deployment was pinned.
    Pinned,
    /// A deployment was unpinned.
    Unpinned,
    /// Deployments or objects were removed.
    CleanedUp,
    /// The remote's URL or keys changed.
    RemoteChanged,
    /// A version was given up as unhealthy.
    GivenUp,
    /// A request failed or was refused.
    Failed,
}

impl Event {
    /// The word `keelctl history` shows.
    pub fn word(self) -> &'static str {
        match self {
            Event::Booted => "booted",
            Event::BootFailed => "boot-failed",
            Event::Upgraded => "upgraded",
            Event::Downloaded => "downloaded",
            Event::Rebased => "rebased",
            Event::RolledBack => "rolled-back",
            Event::Kargs => "kargs",
            Event::Pinned => "pinned",
            Event::Unpinned => "unpinned",
            Event::CleanedUp => "cleaned-up",
            Event::RemoteChanged => "remote-changed",
            Event::GivenUp => "given-up",
            Event::Failed => "failed",
        }
    }

    /// Whether it changed what the next boot starts.
    pub fn sets_next_boot(self) -> bool {
        matches!(self, Event::Upgraded | Event::Rebased | Event::RolledBack | Event::Kargs)
    }
}

/// The history file.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    /// The history in the folder `state`.
    pub fn new(state: &Path) -> Self {
        Self { path: state.join("history.jsonl") }
    }

    /// Every entry, oldest first. A file that is not there yet is an empty history; a line cut
    /// short by a power cut or a full disk, be it within a letter, is left out.
    pub fn read(&self) -> io::Result<Vec<Entry>> {
        match std::fs::read(&self.path) {
            Ok(lines) => Ok(parse(&lines)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Appends an entry and syncs it. An unfinished last line is ended first, so that it spoils
    /// only itself.
    pub fn append(&self, entry: &Entry) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let mut line = String::new();
        if unfinished(&self.path)? {
            line.push('\n');
        }
        line.push_str(&serde_json::to_string(entry)?);
        line.push('\n');
        file.write_all(line.as_bytes())?;
        file.sync_all()
    }
}

fn unfinished(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    Ok(last != [b'\n'])
}

fn parse(lines: &[u8]) -> Vec<Entry> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: Event) -> Entry {
        Entry {
            time: "2026-01-01T00:00:00Z".into(),
            event,
            version: Some("1".into()),
            checksum: None,
            uid: Some(0),
            boot_id: None,
            message: None,
        }
    }

    #[test]
    fn appends_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(&dir.path().join("new"));
        assert_eq!(log.read().unwrap(), []);
        log.append(&entry(Event::Upgraded)).unwrap();
        log.append(&entry(Event::Booted)).unwrap();
        assert_eq!(log.read().unwrap(), [entry(Event::Upgraded), entry(Event::Booted)]);
    }

    #[test]
    fn a_line_cut_short_spoils_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::new(dir.path());
        log.append(&entry(Event::Upgraded)).unwrap();
        // Also within a letter of more than one byte.
        for cut in [&b"{\"time\":\"2026"[..], b"{\"message\":\"M\xc3"] {
            let mut file = OpenOptions::new().append(true).open(&log.path).unwrap();
            file.write_all(cut).unwrap();
        }
        log.append(&entry(Event::Booted)).unwrap();
        assert_eq!(log.read().unwrap(), [entry(Event::Upgraded), entry(Event::Booted)]);
    }

    #[test]
    fn every_event_has_its_word_in_the_file() {
        for event in [Event::BootFailed, Event::CleanedUp, Event::RolledBack, Event::GivenUp] {
            assert_eq!(serde_json::to_value(event).unwrap(), event.word());
        }
    }
}
