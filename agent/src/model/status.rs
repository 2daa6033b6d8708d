//! Owns the document of `keelctl status --json`: every deployment of the host and the running
//! transaction.

use serde::{Deserialize, Serialize};

use super::Transaction;
use crate::health::record::GivenUp;

/// What is deployed, in the order the boot loader offers it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// The stateroot (osname) the deployments below belong to.
    pub stateroot: String,
    /// The deployment that runs now.
    pub booted: Option<Deployment>,
    /// The deployment that the next shutdown finalizes.
    pub staged: Option<Deployment>,
    /// The deployment that `keelctl rollback` goes back to.
    pub rollback: Option<Deployment>,
    /// All of them, in boot order; `index` counts from 0.
    pub deployments: Vec<Deployment>,
    /// What keeld is doing, if anything.
    pub transaction: Option<Transaction>,
    /// The versions that were given up as unhealthy for the one that runs; keelctl adds them.
    #[serde(default)]
    pub given_up: Vec<GivenUp>,
}

impl HostStatus {
    /// A status from the deployments in boot order.
    pub fn new(stateroot: String, deployments: Vec<Deployment>) -> Self {
        let with = |role: Role| deployments.iter().find(|deployment| deployment.role == role).cloned();
        Self {
            stateroot,
            booted: with(Role::Booted),
            staged: with(Role::Staged),
            rollback: with(Role::Rollback),
            deployments,
            transaction: None,
            given_up: Vec::new(),
        }
    }

    /// The deployment the next boot starts: the first.
    pub fn next_boot(&self) -> Option<&Deployment> {
        self.deployments.first()
    }

    /// The version that was gone back from to the one that runs: the one after it, where that is newer and of the same
    /// ref. After an upgrade it is older.
    pub fn left_version(&self) -> Option<&Deployment> {
        let (booted, other) = (self.booted.as_ref()?, self.rollback.as_ref()?);
        // RFC 3339 in UTC: later text is later time.
        let newer = other.timestamp > booted.timestamp && other.checksum != booted.checksum;
        (newer && other.refspec == booted.refspec).then_some(other)
    }

    /// Whether a reboot would start something else than what runs.
    pub fn reboot_pending(&self) -> bool {
        self.booted.is_some() && self.next_boot().is_some_and(|first| first.role != Role::Booted)
    }
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Its place in boot order, from 0; what `pin` and `unpin` take.
    pub index: u32,
    /// What it is to this boot.
    pub role: Role,
    /// The version its commit names.
    pub version: Option<String>,
    /// The commit, 64 hexadecimal digits.
    pub checksum: String,
    /// The refspec it follows, `REMOTE:REF`.
    #[serde(rename = "ref")]
    pub refspec: Option<String>,
    /// When its commit was made, RFC 3339.
    pub timestamp: String,
    /// Who signed its commit, as far as this host can tell.
    pub signature: Signature,
    /// Whether it is kept until it is unpinned.
    pub pinned: bool,
    /// Its kernel arguments, without libostree's own `ostree=`.
    pub kargs: Vec<String>,
}

impl Deployment {
    /// The version, or the start of the checksum where the commit names none.
    pub fn label(&self) -> &str {
        label(self.version.as_deref(), &self.checksum)
    }
}

/// A commit's version, or the start of its checksum where it names none.
pub fn label<'a>(version: Option<&'a str>, checksum: &'a str) -> &'a str {
    version.unwrap_or_else(|| checksum.get(..12).unwrap_or(checksum))
}

/// What a deployment is to the running boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Written out, and finalized by the next shutdown.
    Staged,
    /// In the boot loader before the booted one: the next boot starts it.
    Pending,
    /// It runs now.
    Booted,
    /// The one right after the booted one.
    Rollback,
    /// Any other.
    Other,
}

impl Role {
    /// The word `status` shows.
    pub fn word(self) -> &'static str {
        match self {
            Role::Staged => "staged",
            Role::Pending => "pending",
            Role::Booted => "booted",
            Role::Rollback => "rollback",
            Role::Other => "other",
        }
    }
}

/// What this host can say of a commit's signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The verdict over all keys.
    pub state: SignatureState,
    /// Every signature found.
    pub keys: Vec<SigningKey>,
}

/// The verdict over a commit's signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureState {
    /// At least one signature is valid and by a key the remote's keyring holds.
    Trusted,
    /// Signed, but by no key this host trusts, or badly.
    Untrusted,
    /// Not signed.
    Unsigned,
    /// Could not be checked, for instance because the deployment follows no remote.
    Unknown,
}

/// One signature on a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// The key's fingerprint, or its 16-digit id where the key is not known here.
    pub fingerprint: String,
    /// The user id of the key, where the key is known here.
    pub user: Option<String>,
    /// Whether this signature is valid.
    pub valid: bool,
    /// Why not: `key is not trusted here`, `key has expired`, ...
    pub problem: Option<String>,
}

#[cfg(test)]
impl Deployment {
    /// One for tests, of which nothing else is told.
    pub fn sample(role: Role, checksum: &str) -> Self {
        Self {
            index: 0,
            role,
            version: None,
            checksum: checksum.to_owned(),
            refspec: None,
            timestamp: String::new(),
            signature: Signature { state: SignatureState::Trusted, keys: vec![] },
            pinned: false,
            kargs: vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(index: u32, role: Role) -> Deployment {
        Deployment { index, ..Deployment::sample(role, "0123456789abcdef") }
    }

    #[test]
    fn names_the_three_that_matter() {
        let status = HostStatus::new("s".into(), vec![deployment(0, Role::Staged), deployment(1, Role::Booted)]);
        assert_eq!(status.booted.as_ref().map(|d| d.index), Some(1));
        assert_eq!(status.staged.as_ref().map(|d| d.index), Some(0));
        assert!(status.rollback.is_none() && status.reboot_pending());
    }

    #[test]
    fn a_version_that_was_gone_back_from_is_newer_and_of_the_same_ref() {
        let other = |role: Role, checksum: &str, timestamp: &str| Deployment {
            checksum: checksum.into(),
            timestamp: timestamp.into(),
            refspec: Some("keelson:host".into()),
            ..deployment(0, role)
        };
        let (old, new) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let left = |deployments: Vec<Deployment>| {
            HostStatus::new("s".into(), deployments).left_version().map(|left| left.checksum.clone())
        };
        let back = [other(Role::Booted, "1", old), other(Role::Rollback, "2", new)];
        assert_eq!(left(back.to_vec()).as_deref(), Some("2"));
        let staged = [vec![other(Role::Staged, "2", new)], back.to_vec()].concat();
        assert_eq!(left(staged).as_deref(), Some("2"));
        assert_eq!(left(vec![other(Role::Booted, "2", new), other(Role::Rollback, "1", old)]), None, "an upgrade");
        assert_eq!(
            left(vec![other(Role::Pending, "2", new), other(Role::Booted, "1", old)]),
            None,
            "not gone back yet"
        );
        let arguments = [other(Role::Booted, "1", old), other(Role::Rollback, "1", old)];
        assert_eq!(left(arguments.to_vec()), None);
        let [booted, rollback] = back;
        let rebased = Deployment { refspec: Some("keelson:next".into()), ..rollback };
        assert_eq!(left(vec![booted, rebased]), None, "another ref");
    }

    #[test]
    fn a_deployment_without_version_is_called_by_its_checksum() {
        assert_eq!(deployment(0, Role::Other).label(), "0123456789ab");
    }

    #[test]
    fn refspec_is_called_ref_in_json() {
        let json = serde_json::to_value(deployment(0, Role::Booted)).unwrap();
        assert!(json.get("ref").is_some() && json["role"] == "booted");
    }
}
