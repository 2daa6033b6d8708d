//! Owns the lock file: which packages, to the byte, a manifest is composed of, and which ids the
//! accounts they create have. `keelson lock` writes it, `keelson compose` obeys it.

use std::io;
use std::path::{Path, PathBuf};

use keelson_common::fs::atomic_write;
use keelson_common::packages::Package;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::images::LockedImage;

/// The format this program reads and writes.
const FORMAT: u32 = 1;

/// A lock file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Format number.
    pub format: u32,
    /// SHA-256 of what was asked for; another value means the manifest asks for something else now.
    pub request: String,
    /// Seconds since the epoch: the newest date of the package indexes, and the commit's timestamp.
    pub date: u64,
    /// Every package, sorted by name.
    #[serde(default, rename = "package")]
    pub packages: Vec<LockedPackage>,
    /// Every container image, in the manifest's order.
    #[serde(default, rename = "image", skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<LockedImage>,
    /// Every group the packages create, sorted by name.
    #[serde(default, rename = "group")]
    pub groups: Vec<LockedGroup>,
    /// Every account the packages create, sorted by name.
    #[serde(default, rename = "account")]
    pub accounts: Vec<LockedAccount>,
}

/// One package of the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Name.
    pub name: String,
    /// Full Debian version.
    pub version: String,
    /// Architecture, `amd64` or `all`.
    pub architecture: String,
    /// SHA-256 of the `.deb`, hexadecimal.
    pub sha256: String,
    /// Size of the `.deb` in bytes.
    pub size: u64,
    /// The manifest's name of the repository it is from, or [`LOCAL`].
    pub origin: String,
    /// Its path below the repository's URI, or its file name in a local folder.
    pub file: String,
}

/// The origin of packages from the manifest's local folders.
pub const LOCAL: &str = "local";

/// A system account's ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedAccount {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group's id.
    pub gid: u32,
    /// Comment field.
    pub gecos: String,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// A system group's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedGroup {
    /// Name.
    pub name: String,
    /// Group id.
    pub gid: u32,
    /// Names of further members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

/// A lock file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error("cannot {action} the lock file {}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its text is not a lock.
    #[error("{} is not a lock file this keelson understands; `keelson lock` writes a new one", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// It is of another format.
    #[error("{} has format {found}, this keelson writes {FORMAT}; `keelson lock` writes a new one", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

impl Lock {
    /// Where the lock of a manifest is: beside it, `host.toml` -> `host.lock`.
    pub fn path_for(manifest: &Path) -> PathBuf {
        manifest.with_extension("lock")
    }

    /// A lock of these packages with no accounts yet.
    pub fn new(request: String, date: u64, mut packages: Vec<LockedPackage>) -> Self {
        packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
        Self { format: FORMAT, request, date, packages, ..Self::default() }
    }

    /// Reads a lock; `None` when there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>, LockError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LockError::Io { action: "read", path: path.to_owned(), source }),
        };
        let lock: Self = toml::from_str(&text)
            .map_err(|source| LockError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        match lock.format {
            FORMAT => Ok(Some(lock)),
            found => Err(LockError::Format { path: path.to_owned(), found }),
        }
    }

    /// Writes the lock atomically.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        atomic_write(path, self.text().as_bytes(), 0o644).map_err(|source| LockError::Io {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// SHA-256 of the lock's text, hexadecimal.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.text()))
    }

    /// The packages as a commit lists them.
    pub fn package_list(&self) -> Vec<Package> {
        let package = |p: &LockedPackage| Package {
            name: p.name.clone(),
            version: p.version.clone(),
            architecture: p.architecture.clone(),
        };
        self.packages.iter().map(package).collect()
    }

    fn text(&self) -> String {
        let body = toml::to_string(self).unwrap_or_default();
        format!("# Written by `keelson lock` and completed by `keelson compose`. Not meant to be edited.\n{body}")
    }

    /// Takes over the ids of another lock, so that they stay what they were.
    pub fn keep_accounts_of(&mut self, old: &Self) {
        self.accounts = old.accounts.clone();
        self.groups = old.groups.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let package = |name: &str| LockedPackage {
            name: name.into(),
            version: "1".into(),
            architecture: "all".into(),
            sha256: "00".into(),
            size: 1,
            origin: "trixie".into(),
            file: "pool/a.deb".into(),
        };
        let mut lock = Lock::new("r".into(), 7, vec![package("b"), package("a")]);
        lock.groups.push(LockedGroup { name: "g".into(), gid: 999, members: vec![] });
        lock
    }

    #[test]
    fn survives_a_round_trip_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        assert_eq!(Lock::read(&path).unwrap(), None);
        lock().write(&path).unwrap();
        let read = Lock::read(&path).unwrap().unwrap();
        assert_eq!(read, lock());
        assert_eq!(read.packages[0].name, "a");
        assert_eq!(read.digest(), lock().digest());
    }

    #[test]
    fn foreign_text_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        std::fs::write(&path, "format = 1\nfoo = 2\n").unwrap();
        assert!(Lock::read(&path).unwrap_err().to_string().contains("`keelson lock` writes a new one"));
    }
}
