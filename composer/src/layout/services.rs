//! Owns what systemd does at the first boot of a deployment. libostree removes `/etc/.updated` and
//! `/var/.updated` when it deploys, so every unit with `ConditionNeedsUpdate=` runs then: for
//! systemd-sysusers that is what brings new accounts, the caches were already made by the compose.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::error::LayoutError;
use super::root::Root;

/// journald's catalog of messages on a host, and where it is in a commit.
pub const CATALOG: &str = "var/lib/systemd/catalog/database";
/// See [`CATALOG`].
pub const IMAGE_CATALOG: &str = "usr/lib/sysimage/journal-catalog";
/// Every unit that is enabled, and that no other is.
pub const PRESET: &str = "usr/lib/systemd/system-preset/00-keelson.preset";

const UNITS: &str = "usr/lib/systemd/system";

/// Additions to Debian's units: unit, text.
const DROP_INS: [(&str, &str); 4] = [
    (
        "ldconfig.service",
        "# The cache comes with the commit; only one changed on this host must follow a new /usr.\n\
         [Service]\n\
         ExecCondition=/bin/sh -c '! cmp -s /usr/etc/ld.so.cache /etc/ld.so.cache'\n",
    ),
    (
        "systemd-firstboot.service",
        "# Nobody answers questions on the console of a host; credentials are still read.\n\
         [Service]\n\
         ExecStart=\n\
         ExecStart=systemd-firstboot\n\
         StandardInput=null\n\
         StandardOutput=journal\n\
         StandardError=journal\n",
    ),
    (
        "systemd-journal-catalog-update.service",
        "# The catalog comes with the commit, as a link.\n\
         [Unit]\n\
         ConditionPathIsSymbolicLink=!/var/lib/systemd/catalog/database\n",
    ),
    (
        "systemd-sysusers.service",
        "# Lines with locked ids come before the packages' own, which is warned of for each.\n\
         [Service]\n\
         LogLevelMax=err\n",
    ),
];

/// Writes the drop-ins and [`PRESET`], moves the catalog into `/usr`, and makes the journal
/// persistent from the first boot on where the packages chose so by shipping `/var/log/journal`,
/// which on a host does not exist yet when journald asks for it.
pub fn adjust(root: &Root) -> Result<(), LayoutError> {
    for (unit, text) in DROP_INS {
        if root.stat(&format!("{UNITS}/{unit}"))?.is_some() {
            root.write(&format!("{UNITS}/{unit}.d/keelson.conf"), text, 0o644)?;
        }
    }
    if root.stat(CATALOG)?.is_some() {
        root.rename(CATALOG, IMAGE_CATALOG)?;
    }
    if root.is_dir("var/log/journal")? {
        root.write("usr/lib/systemd/journald.conf.d/00-keelson.conf", "[Journal]\nStorage=persistent\n", 0o644)?;
    }
    if root.is_dir(UNITS)? {
        root.write(PRESET, preset(&enabled(root)?), 0o644)?;
    }
    Ok(())
}

/// Names of the units that links in `/etc/systemd/system` enable, without those it masks.
fn enabled(root: &Root) -> Result<BTreeSet<String>, LayoutError> {
    const ETC: &str = "etc/systemd/system";
    let mut units = BTreeSet::new();
    for folder in root.list(ETC)? {
        if [".wants", ".requires", ".upholds"].iter().any(|end| folder.ends_with(end)) {
            units.extend(root.list(&format!("{ETC}/{folder}"))?);
        }
    }
    for unit in units.clone() {
        if fs::read_link(root.join(&format!("{ETC}/{unit}"))).is_ok_and(|target| target == Path::new("/dev/null")) {
            units.remove(&unit);
        }
    }
    Ok(units)
}

/// systemd applies presets at a first boot, and a unit that none names would be enabled.
fn preset(enabled: &BTreeSet<String>) -> String {
    let mut text = "# Made by keelson: the units this host was composed with, and no others.\n".to_owned();
    enabled.iter().for_each(|unit| text += &format!("enable {unit}\n"));
    text + "disable *\n"
}
