//! Owns writing a deployment: staged on the booted host, to be finalized by the next shutdown; at
//! once on a sysroot that is not booted.

use gio::prelude::*;
use gio::{Cancellable, FileQueryInfoFlags};
use ostree::{Deployment as Native, SysrootSimpleWriteDeploymentFlags, SysrootWriteDeploymentsOpts};

use crate::model::{HostStatus, Phase, Role};

use super::context::Context;
use super::error::DeployError;
use super::host::Host;
use super::space;
use super::tries::Tries;

/// What to write.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The commit, all of it in the repository.
    pub checksum: &'a str,
    /// The refspec the deployment is to follow.
    pub refspec: &'a str,
    /// Its kernel arguments.
    pub kargs: &'a [String],
}

/// Writes the deployment; `/etc` is merged from the running one.
pub fn stage(host: &Host, plan: &Plan<'_>, context: &Context) -> Result<(), DeployError> {
    context.begin(Phase::Staging);
    let (sysroot, stateroot) = (host.sysroot(), host.stateroot());
    let origin = sysroot.origin_new_from_refspec(plan.refspec);
    let merge = sysroot.merge_deployment(Some(&stateroot));
    let kargs: Vec<&str> = plan.kargs.iter().map(String::as_str).collect();
    let cannot = DeployError::ostree(format!("cannot deploy commit {}", plan.checksum));
    if host.booted().is_some() {
        let staged = sysroot.stage_tree(
            Some(&stateroot),
            plan.checksum,
            Some(&origin),
            merge.as_ref(),
            &kargs,
            context.cancellable(),
        );
        // Its boots are counted from the moment that it is finalized: what a power cut undoes is no new version.
        return staged.map(drop).map_err(cannot);
    }
    let written = sysroot
        .deploy_tree(Some(&stateroot), plan.checksum, Some(&origin), merge.as_ref(), &kargs, context.cancellable())
        .and_then(|deployment| {
            let flags = SysrootSimpleWriteDeploymentFlags::NONE;
            sysroot.simple_write_deployment(Some(&stateroot), &deployment, merge.as_ref(), flags, context.cancellable())
        });
    written.map_err(cannot)
}

/// Makes these deployments, in this order, all there are.
pub fn write_order(host: &Host, order: &[usize], context: &Context) -> Result<(), DeployError> {
    let natives = host.deployments();
    let kept: Vec<Native> = order.iter().filter_map(|&index| natives.get(index).cloned()).collect();
    if host.booted().is_some()
        && let Err(error) = Tries::below(host.root()).again()
    {
        tracing::warn!("the boot loader goes on to count boots as before: {error}");
    }
    let options = SysrootWriteDeploymentsOpts { do_postclean: true };
    host.sysroot()
        .write_deployments_with_options(&kept, &options, context.cancellable())
        .map_err(DeployError::ostree("cannot write the boot entries"))
}

/// Has the boot loader count no boots: nothing that is new boots next.
pub fn nothing_new(host: &Host) {
    if host.booted().is_some()
        && let Err(error) = Tries::below(host.root()).end()
    {
        tracing::warn!("the boot loader goes on to count boots: {error}");
    }
}

/// The deployment whose kernel arguments the next one carries on: what the next boot would start,
/// if a person is on the way there, else what runs.
pub fn base(status: &HostStatus) -> Result<&crate::model::Deployment, DeployError> {
    let ahead = status.deployments.iter().find(|d| matches!(d.role, Role::Staged | Role::Pending));
    ahead.or(status.booted.as_ref()).ok_or(DeployError::Empty)
}

/// Bytes of the kernel and initramfs of a commit that is in the repository, which finalizing
/// copies into `/boot`.
pub fn kernel_size(host: &Host, checksum: &str) -> Result<u64, DeployError> {
    let cannot = || DeployError::ostree(format!("cannot read the kernel of commit {checksum}"));
    let (root, _) = host.repo().read_commit(checksum, Cancellable::NONE).map_err(cannot())?;
    let modules = root.resolve_relative_path("usr/lib/modules");
    let mut total = 0;
    for version in children(&modules).map_err(cannot())? {
        for file in children(&modules.child(version.name())).map_err(cannot())? {
            let name = file.name();
            if name.starts_with("vmlinuz") || name.starts_with("initramfs.img") {
                total += u64::try_from(file.size()).unwrap_or_default();
            }
        }
    }
    Ok(total)
}

fn children(folder: &gio::File) -> Result<Vec<gio::FileInfo>, glib::Error> {
    let attributes = "standard::name,standard::size";
    folder.enumerate_children(attributes, FileQueryInfoFlags::NOFOLLOW_SYMLINKS, Cancellable::NONE)?.collect()
}

/// The most any deployed kernel takes in `/boot`, in bytes: what the next one is likely to take.
pub fn largest_kernel(host: &Host) -> u64 {
    let Ok(folders) = host.root().join("boot/ostree").read_dir() else { return 0 };
    folders.flatten().map(|folder| space::files_in(&folder.path())).max().unwrap_or_default()
}
