//! Owns how one request fares: its progress, its outcome or why it failed.

use keelson_common::packages::PackageDiff;
use serde::{Deserialize, Serialize};

use super::{Request, Signature};

/// One request that was taken on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// Counts from 1 since keeld started.
    pub id: u64,
    /// What was asked for.
    pub request: Request,
    /// Who asked.
    pub uid: u32,
    /// When, RFC 3339.
    pub started: String,
    /// How far it is.
    pub state: State,
    /// What it is doing, while it runs.
    pub progress: Progress,
    /// What came of it, once done.
    pub outcome: Option<Outcome>,
    /// Why it failed, where it did.
    pub error: Option<Failure>,
}

/// How far a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has not ended.
    Running,
    /// It did what was asked.
    Done,
    /// It did not, and the host is as it was.
    Failed,
}

/// What a transaction is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The step.
    pub phase: Phase,
    /// How much of it is done, in `unit`.
    pub done: u64,
    /// How much there is, in `unit`; 0 where that is not known.
    pub total: u64,
    /// `bytes` or `objects`.
    pub unit: Unit,
    /// Bytes received so far.
    pub received: u64,
}

/// The steps of a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Nothing has begun.
    #[default]
    Waiting,
    /// The newest commit's metadata is fetched and its signature checked.
    Checking,
    /// Objects are fetched.
    Downloading,
    /// The new deployment is written out.
    Staging,
    /// What is no longer referenced goes.
    Cleaning,
}

impl Phase {
    /// The word shown while it lasts.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Waiting => "Waiting",
            Phase::Checking => "Checking",
            Phase::Downloading => "Downloading",
            Phase::Staging => "Staging",
            Phase::Cleaning => "Cleaning up",
        }
    }
}

/// What progress counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// OSTree objects.
    #[default]
    Objects,
    /// Bytes of static delta parts.
    Bytes,
}

/// What came of a transaction that did what was asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether anything on the host is different now.
    pub changed: bool,
    /// One sentence for a person.
    pub message: String,
    /// Whether the next boot starts something else than what runs.
    pub reboot_pending: bool,
    /// What there is to upgrade to (check, upgrade, rebase).
    pub update: Option<Update>,
    /// Bytes of disk that came free (cleanup).
    pub freed: Option<u64>,
}

/// Why a transaction failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A word for scripts: `unsigned`, `untrusted-key`, `tampered`, `older`, `no-space`, ...
    pub kind: String,
    /// Plain words, with the remedy where there is one.
    pub message: String,
}

/// What the ref holds, against what runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Whether there is something to do.
    pub state: UpdateState,
    /// The refspec that was asked.
    #[serde(rename = "ref")]
    pub refspec: String,
    /// What runs (or, on a host that is not booted, what would).
    pub from: CommitSummary,
    /// What the ref holds.
    pub to: CommitSummary,
    /// Who signed it.
    pub signature: Signature,
    /// Packages from `from` to `to`.
    pub packages: PackageDiff,
    /// What the download takes, where the commit says.
    pub download: Option<Download>,
}

/// What an upgrade would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateState {
    /// It would stage `to`.
    Available,
    /// `to` runs already.
    UpToDate,
    /// `to` is staged or pending already: only a reboot is left.
    Staged,
    /// `to` is older than what runs; only `--allow-downgrade` takes it.
    Older,
}

/// A commit in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitSummary {
    /// The version it names.
    pub version: Option<String>,
    /// The commit, 64 hexadecimal digits.
    pub checksum: String,
    /// When it was made, RFC 3339.
    pub timestamp: String,
}

impl CommitSummary {
    /// The version, or the start of the checksum where the commit names none.
    pub fn label(&self) -> &str {
        super::status::label(self.version.as_deref(), &self.checksum)
    }
}

/// What a download takes at most: without a static delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// Bytes to fetch.
    pub bytes: u64,
    /// Bytes of disk the fetched objects will fill.
    pub unpacked: u64,
}
