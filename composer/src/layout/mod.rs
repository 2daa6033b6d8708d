//! The layout step: a configured Debian root (dpkg's database, `/etc`, a kernel in `/boot`) becomes
//! the tree that OSTree wants. [`customise`] applies what the manifest says about files, units and
//! accounts while programs can still run in the root; [`apply`] comes last and runs none. The same
//! root gives the same tree, byte for byte, whatever the time, the folder or the order of names.

pub mod accounts;
mod clean;
mod customise;
pub mod dpkg;
mod error;
mod files;
mod kernel;
mod os_release;
mod python;
mod root;
mod services;
#[cfg(test)]
mod tests;
mod tmpfiles;
mod toplevel;
mod units;
mod var;

use std::path::Path;

pub use accounts::Accounts;
pub use clean::{LEFTOVERS, MACHINE_ID, is_host_key};
pub use customise::{RunInRoot, customise};
pub use error::{BoxError, LayoutError};
pub use python::{is_unchecked as is_unchecked_python, source_of as python_source, uncheck as uncheck_python};
pub use tmpfiles::{MOVED, made_path};
pub use var::is_kept as is_kept_var;

use crate::manifest::Manifest;
use root::Root;

/// Lays out a root in place. `accounts` are the locked ones, for hosts that keep their own passwd;
/// `version` goes into os-release, when there is one.
///
/// Needs root, or a root folder whose files are the caller's. The root must be whole: nothing
/// mounted in it, maintainer scripts, [`customise`] and the initramfs done.
pub fn apply(root: &Path, manifest: &Manifest, accounts: &Accounts, version: Option<&str>) -> Result<(), LayoutError> {
    let root = Root(root);
    clean::check_mounts(&root)?;
    clean::clean(&root, manifest)?;
    kernel::place(&root)?;
    python::uncheck(root.0)?;
    dpkg::place(&root)?;
    services::adjust(&root)?;
    accounts::write(&root, accounts)?;
    if let Some(version) = version {
        os_release::stamp(&root, &manifest.name, version)?;
    }
    toplevel::move_into_var(&root)?;
    tmpfiles::follow_links(&root)?;
    var::empty(&root, &Accounts::read(&root)?)?;
    toplevel::finish(&root)
}
