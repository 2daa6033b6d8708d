//! Owns what belongs to the build machine and not to a manifest: where the Debian mirror is, where
//! downloads are kept, where signing keys live.

use std::env;
use std::path::{Path, PathBuf};

/// Where Debian's archives are when nothing else is said.
const PUBLIC_MIRROR: &str = "http://deb.debian.org";

/// Settings of this build machine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Base below which `debian` and `debian-security` are found.
    pub mirror: String,
    /// Folder of downloads, layers and other things that can be made again.
    pub cache: PathBuf,
    /// GnuPG home with the signing key.
    pub gnupg_home: PathBuf,
}

impl Settings {
    /// Settings with the given cache folder, from the environment: `KEELSON_MIRROR` (a URL below
    /// which `debian/` and `debian-security/` are), `KEELSON_GNUPGHOME`.
    pub fn from_env(cache: &Path) -> Self {
        let mirror = env::var("KEELSON_MIRROR").unwrap_or_else(|_| PUBLIC_MIRROR.to_owned());
        Self { mirror: mirror.trim_end_matches('/').to_owned(), cache: cache.to_owned(), gnupg_home: gnupg_home() }
    }
}

/// The GnuPG home of signing keys: `KEELSON_GNUPGHOME`, else `~/.config/keelson/gnupg`.
pub fn gnupg_home() -> PathBuf {
    if let Some(home) = env::var_os("KEELSON_GNUPGHOME") {
        return home.into();
    }
    let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from).join(".config");
    config.unwrap_or_else(home).join("keelson/gnupg")
}
