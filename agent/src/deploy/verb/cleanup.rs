//! `cleanup`: removes deployments that are no longer wanted, then everything in the repository
//! that none of the rest needs.

use gio::Cancellable;

use crate::deploy::context::Context;
use crate::deploy::error::DeployError;
use crate::deploy::host::Host;
use crate::deploy::space::{available, mib};
use crate::deploy::{decide, observe, order, stage};
use crate::model::{HostStatus, Outcome, Phase};

/// Performs the verb.
pub fn perform(host: &mut Host, pending: bool, rollback: bool, context: &Context) -> Result<Outcome, DeployError> {
    let status = observe::observe(host)?;
    let keep = order::cleanup(&status.deployments, pending, rollback)?;
    context.begin(Phase::Cleaning);
    let repository = host.root().join("ostree/repo");
    let before = available(&repository)?;
    let dropped = status.deployments.len() - keep.len();
    if dropped > 0 {
        stage::write_order(host, &keep, context)?;
    }
    if pending {
        stage::nothing_new(host);
    }
    let left = observe::observe(host)?;
    forget_fetched(host, &left)?;
    host.sysroot()
        .cleanup(Cancellable::NONE)
        .map_err(DeployError::ostree("cannot remove what is no longer referenced"))?;
    let freed = available(&repository)?.saturating_sub(before);
    let deployments = match dropped {
        0 => String::new(),
        1 => "1 deployment removed, ".to_owned(),
        more => format!("{more} deployments removed, "),
    };
    let message = format!("{deployments}{} freed.", mib(freed));
    let now = observe::observe(host)?;
    let changed = dropped > 0 || freed > 0;
    Ok(Outcome { changed, message, reboot_pending: now.reboot_pending(), update: None, freed: Some(freed) })
}

/// Lets the refs of deployments name the newest deployed commit again where they name one that is
/// only downloaded, or that is gone.
fn forget_fetched(host: &Host, status: &HostStatus) -> Result<(), DeployError> {
    let repo = host.repo();
    for deployment in status.deployments.iter().rev() {
        let Some(Ok((remote, name))) = deployment.refspec.as_deref().map(|refspec| decide::split_refspec(refspec, ""))
        else {
            continue;
        };
        repo.set_ref_immediate(Some(remote), name, Some(&deployment.checksum), Cancellable::NONE)
            .map_err(DeployError::ostree("cannot write the ref into the repository"))?;
    }
    Ok(())
}
