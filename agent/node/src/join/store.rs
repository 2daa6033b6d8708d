//! Owns `pki/` below the node's root: what survives a restart. Keys are readable to root alone, and
//! every file is whole or not there.
//!
//! ```text
//! ca.crt                      the authority
//! client-current.pem ─▶ client-2026-01-31T10-00-00Z.pem    certificate and key
//! client-pending.key          of a request that is not answered yet
//! server-...                  the same of the serving certificate
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use keelson_common::fs::atomic_write;
use rcgen::KeyPair;

use super::JoinError;
use super::pair::Pair;

/// How many certificates of a kind are kept, the one in use among them.
const KEPT: usize = 2;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To speak to the API server.
    Client,
    /// To be spoken to.
    Serving,
}

impl Purpose {
    fn stem(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Serving => "server",
        }
    }
}

/// Keys and certificates of the node.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Below the node's root; made when something is first kept in it.
    pub fn open(root: &Path) -> Self {
        Self { folder: root.join("pki") }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The authority's certificates, PEM, when they are known.
    pub fn authority(&self) -> Result<Option<String>, JoinError> {
        self.read("ca.crt")
    }

    /// Keeps the authority's certificates.
    pub fn keep_authority(&self, pem: &str) -> Result<(), JoinError> {
        self.write("ca.crt", pem, 0o644)
    }

    /// The certificate in use; none where there is none, or one that makes no sense.
    pub(super) fn current(&self, purpose: Purpose) -> Result<Option<Pair>, JoinError> {
        let name = current(purpose);
        let Some(pem) = self.read(&name)? else { return Ok(None) };
        match Pair::read(pem, &self.folder.join(name).display().to_string()) {
            Ok(pair) => Ok(Some(pair)),
            Err(error) => {
                tracing::warn!("another certificate will be asked for: {error}");
                Ok(None)
            }
        }
    }

    /// Makes a certificate the one in use; the key that was pending is pending no more.
    pub(super) fn keep(&self, purpose: Purpose, pair: &Pair) -> Result<(), JoinError> {
        let stem = purpose.stem();
        let from = pair.validity.not_before.to_string().replace(':', "-");
        let (name, current) = (format!("{stem}-{from}.pem"), current(purpose));
        self.write(&name, &pair.pem, 0o600)?;
        let temporary = self.folder.join(format!(".new-{current}"));
        let link = remove(&temporary).and_then(|()| symlink(&name, &temporary));
        link.and_then(|()| fs::rename(&temporary, self.folder.join(&current)))
            .map_err(JoinError::files("make the link", &self.folder.join(&current)))?;
        self.forget_pending(purpose)?;
        self.tidy(stem, &name);
        Ok(())
    }

    /// The key of a request that was made or is to be made: the same until it is answered, also after
    /// a restart, so that one request is made and not many.
    pub(super) fn pending(&self, purpose: Purpose) -> Result<KeyPair, JoinError> {
        let name = format!("{}-pending.key", purpose.stem());
        if let Some(key) = self.read(&name)?.and_then(|pem| KeyPair::from_pem(&pem).ok()) {
            return Ok(key);
        }
        let what = "a new key".to_owned();
        let key = KeyPair::generate().map_err(|error| JoinError::Certificate { what, why: error.to_string() })?;
        self.write(&name, &key.serialize_pem(), 0o600)?;
        Ok(key)
    }

    /// Forgets the key of a request that came to nothing.
    pub(super) fn forget_pending(&self, purpose: Purpose) -> Result<(), JoinError> {
        let path = self.folder.join(format!("{}-pending.key", purpose.stem()));
        remove(&path).map_err(JoinError::files("remove", &path))
    }

    fn read(&self, name: &str) -> Result<Option<String>, JoinError> {
        let path = self.folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(JoinError::files("read", &path)(error)),
        }
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), JoinError> {
        // Only this one is secret: what is above it has other parts of the node in it.
        let above = self.folder.parent().map_or(Ok(()), fs::create_dir_all);
        let made = above.and_then(|()| fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder));
        made.map_err(JoinError::files("make", &self.folder))?;
        let path = self.folder.join(name);
        atomic_write(&path, text.as_bytes(), mode).map_err(JoinError::files("write", &path))
    }

    /// Removes old certificates; their names sort by time.
    fn tidy(&self, stem: &str, newest: &str) {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let dated = |name: &String| {
            let rest = name.strip_prefix(stem).and_then(|name| name.strip_prefix('-'));
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) && name != newest
        };
        let mut old: Vec<String> = names.filter(dated).collect();
        old.sort_unstable();
        old.truncate((old.len() + 1).saturating_sub(KEPT));
        for name in old {
            if let Err(error) = fs::remove_file(self.folder.join(&name)) {
                tracing::debug!(name, %error, "an old certificate stays");
            }
        }
    }
}

fn current(purpose: Purpose) -> String {
    format!("{}-current.pem", purpose.stem())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn pair(year: i32) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        Pair::read(format!("{}{}", certificate.pem(), key.serialize_pem()), "it").unwrap()
    }

    #[test]
    fn the_newest_is_in_use_and_old_ones_go() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path());
        assert!(store.current(Purpose::Client).unwrap().is_none());
        for year in [2024, 2025, 2026] {
            store.keep(Purpose::Client, &pair(year)).unwrap();
        }
        let current = store.current(Purpose::Client).unwrap().unwrap();
        assert_eq!(current.validity.not_before.to_string(), "2026-01-01T00:00:00Z");
        assert!(store.current(Purpose::Serving).unwrap().is_none());
        let mut names: Vec<_> = fs::read_dir(store.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["client-2025-01-01T00-00-00Z.pem", "client-2026-01-01T00-00-00Z.pem", "client-current.pem"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.folder()), 0o700);
        assert_eq!(mode(&store.folder().join("client-current.pem")), 0o600);
    }

    #[test]
    fn a_pending_key_is_the_same_until_it_is_answered() {
        let root = tempfile::tempdir().unwrap();
        let key = || Store::open(root.path()).pending(Purpose::Client).unwrap().serialize_pem();
        let first = key();
        assert_eq!(first, key());
        let store = Store::open(root.path());
        assert_ne!(store.pending(Purpose::Serving).unwrap().serialize_pem(), first);
        store.keep(Purpose::Client, &pair(2026)).unwrap();
        assert_ne!(first, key());
    }
}
