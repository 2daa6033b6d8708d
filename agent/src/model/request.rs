//! Owns what keeld can be asked to do.

use serde::{Deserialize, Serialize};

/// One thing to do; every request becomes one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase")]
pub enum Request {
    /// Fetches the newest commit's metadata and compares it with what runs.
    Check,
    /// Pulls and stages the newest commit of the ref.
    Upgrade(Upgrade),
    /// Makes the other deployment the next to boot.
    Rollback {
        /// Reboot when done.
        reboot: bool,
    },
    /// Keeps a deployment, or lets it go.
    Pin {
        /// The deployment's place in boot order.
        index: u32,
        /// Whether to keep it.
        pinned: bool,
    },
    /// Stages the same commit with other kernel arguments.
    Kargs {
        /// What to change.
        edit: KargsEdit,
        /// Reboot when done.
        reboot: bool,
    },
    /// Follows another ref from here on.
    Rebase(Rebase),
    /// Removes what is no longer wanted, and prunes the repository.
    Cleanup {
        /// Drop the staged or pending deployment.
        pending: bool,
        /// Drop the rollback deployment.
        rollback: bool,
    },
    /// Changes where updates come from and whose signature they need.
    Remote(RemoteChange),
}

/// The options of an upgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Take this commit of the ref and no other: the one the person said yes to.
    pub checksum: Option<String>,
    /// Stop when everything is downloaded.
    pub download_only: bool,
    /// Take a commit that is older than what runs.
    pub allow_downgrade: bool,
    /// Reboot when staged.
    pub reboot: bool,
}

/// The options of a rebase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebase {
    /// `REF`, or `REMOTE:REF`.
    pub refspec: String,
    /// What to change about the remote first.
    pub remote: RemoteChange,
    /// Reboot when staged.
    pub reboot: bool,
}

/// A change of kernel arguments, applied in this order: delete, replace, append.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KargsEdit {
    /// Arguments to take away, `key` or `key=value`.
    pub delete: Vec<String>,
    /// `key=value`, or `key=old=new` where a key is there more than once.
    pub replace: Vec<String>,
    /// Arguments to add at the end.
    pub append: Vec<String>,
}

impl KargsEdit {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.delete.is_empty() && self.replace.is_empty() && self.append.is_empty()
    }
}

/// A change of a remote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteChange {
    /// The new URL.
    pub url: Option<String>,
    /// A public key to trust, armored or binary.
    pub key: Option<Vec<u8>>,
    /// Forget every key trusted before.
    pub replace_keys: bool,
    /// Fingerprints of keys to forget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forget: Vec<String>,
}

impl RemoteChange {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.url.is_none() && self.key.is_none() && !self.replace_keys && self.forget.is_empty()
    }
}

impl Request {
    /// The keelctl verb that asks for this.
    pub fn verb(&self) -> &'static str {
        match self {
            Request::Check => "check",
            Request::Upgrade(_) => "upgrade",
            Request::Rollback { .. } => "rollback",
            Request::Pin { pinned: true, .. } => "pin",
            Request::Pin { pinned: false, .. } => "unpin",
            Request::Kargs { .. } => "kargs",
            Request::Rebase(_) => "rebase",
            Request::Cleanup { .. } => "cleanup",
            Request::Remote(_) => "remote",
        }
    }

    /// What runs, in a sentence: `an upgrade`.
    pub fn noun(&self) -> &'static str {
        match self {
            Request::Check => "a check for updates",
            Request::Upgrade(_) => "an upgrade",
            Request::Rollback { .. } => "a rollback",
            Request::Pin { .. } => "a change of pins",
            Request::Kargs { .. } => "a change of kernel arguments",
            Request::Rebase(_) => "a rebase",
            Request::Cleanup { .. } => "a cleanup",
            Request::Remote(_) => "a change of the remote",
        }
    }

    /// Whether the host is to reboot when this is done.
    pub fn reboot(&self) -> bool {
        match self {
            Request::Upgrade(Upgrade { reboot, .. }) | Request::Rebase(Rebase { reboot, .. }) => *reboot,
            Request::Rollback { reboot } | Request::Kargs { reboot, .. } => *reboot,
            Request::Check | Request::Pin { .. } | Request::Cleanup { .. } | Request::Remote(_) => false,
        }
    }
}
