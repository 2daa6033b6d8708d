//! Owns dpkg's database in a commit: it describes `/usr`, so it is in `/usr` and changes with it.
//! `/var/lib/dpkg` becomes a link to it, made by tmpfiles.d, so that `dpkg -l` and `dpkg -S` answer.

use super::error::LayoutError;
use super::root::Root;

/// Where dpkg looks.
pub const ADMIN_DIR: &str = "var/lib/dpkg";
/// Where the database is in a commit.
pub const IMAGE_DIR: &str = "usr/lib/sysimage/dpkg";

/// Locks, and copies that dpkg keeps of earlier states.
const DROPPED: [&str; 7] =
    ["available", "available-old", "diversions-old", "lock", "lock-frontend", "statoverride-old", "status-old"];

/// Moves the database, with the state of the alternatives. A root without one is fine.
pub fn place(root: &Root) -> Result<(), LayoutError> {
    if !root.is_dir(ADMIN_DIR)? {
        return Ok(());
    }
    for name in DROPPED {
        root.remove(&format!("{ADMIN_DIR}/{name}"))?;
    }
    root.remove(&format!("{ADMIN_DIR}/triggers/Lock"))?;
    root.clear(&format!("{ADMIN_DIR}/updates"))?;
    root.remove(IMAGE_DIR)?;
    root.rename(ADMIN_DIR, IMAGE_DIR)
}
