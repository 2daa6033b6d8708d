//! Owns the one `OstreeSysroot` of the process: opening it, locking it, and reading it anew.
//!
//! libostree's objects may be used by one thread only, so the thread that opens a [`Host`] keeps it.

use std::path::{Path, PathBuf};

use gio::Cancellable;
use keelson_common::commit::STATEROOT;
use ostree::{Deployment, Repo, Sysroot, SysrootBuilder};

use super::error::DeployError;
use super::signature::SignatureCache;

/// libostree's mark of a booted deployment.
const BOOTED_MARK: &str = "/run/ostree-booted";

/// Which sysroot to manage.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// `/` for the host itself. Any other folder is a sysroot that is not booted: deployments are
    /// then written at once instead of staged.
    pub root: PathBuf,
    /// Whether this process has a mount namespace of its own, in which libostree may make
    /// `/sysroot` and `/boot` writable.
    pub own_mounts: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { root: PathBuf::from("/"), own_mounts: false }
    }
}

/// The deployments of one sysroot.
pub struct Host {
    sysroot: Sysroot,
    root: PathBuf,
    /// What is known of signatures already.
    pub(super) signatures: SignatureCache,
}

impl Host {
    /// Opens and reads the sysroot.
    pub fn open(options: &HostOptions) -> Result<Self, DeployError> {
        if options.root == Path::new("/") && !Path::new(BOOTED_MARK).exists() {
            return Err(DeployError::NotOstree);
        }
        let sysroot = SysrootBuilder::new()
            .path(Some(options.root.clone()))
            .mount_namespace_in_use(options.own_mounts)
            .load(Cancellable::NONE)
            .map_err(DeployError::ostree(format!("cannot open the sysroot {}", options.root.display())))?;
        Ok(Self { sysroot, root: options.root.clone(), signatures: SignatureCache::default() })
    }

    /// The folder the sysroot is at, `/` on a host.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The deployments, in boot order.
    pub fn deployments(&self) -> Vec<Deployment> {
        self.sysroot.deployments()
    }

    /// The deployment that runs, if this sysroot is the one that was booted.
    pub fn booted(&self) -> Option<Deployment> {
        self.sysroot.booted_deployment()
    }

    /// The system repository.
    pub fn repo(&self) -> Repo {
        self.sysroot.repo()
    }

    /// The sysroot itself, for the modules that act on it.
    pub(super) fn sysroot(&self) -> &Sysroot {
        &self.sysroot
    }

    /// The stateroot (osname) managed: the booted one, else the first deployed one, else ours.
    pub fn stateroot(&self) -> String {
        let first = || self.sysroot.deployments().into_iter().next();
        self.booted().or_else(first).map_or_else(|| STATEROOT.to_owned(), |deployment| deployment.osname().into())
    }

    /// Reads the deployments anew where another program changed them.
    pub fn reload(&self) -> Result<(), DeployError> {
        self.sysroot
            .load_if_changed(Cancellable::NONE)
            .map(drop)
            .map_err(DeployError::ostree("cannot read the deployments anew"))
    }

    /// Takes libostree's lock over the sysroot for as long as the guard lives.
    pub fn lock(&self) -> Result<HostLock, DeployError> {
        match self.sysroot.try_lock().map_err(DeployError::ostree("cannot lock the sysroot"))? {
            false => Err(DeployError::Locked),
            true => {
                let lock = HostLock { sysroot: self.sysroot.clone() };
                // Locking may have made the mounts writable and reopened libostree's descriptors.
                self.sysroot
                    .load(Cancellable::NONE)
                    .map_err(DeployError::ostree("cannot read the deployments anew"))?;
                Ok(lock)
            }
        }
    }
}

/// libostree's lock, given back when dropped.
pub struct HostLock {
    sysroot: Sysroot,
}

impl Drop for HostLock {
    fn drop(&mut self) {
        self.sysroot.unlock();
    }
}
