//! `pin` and `unpin`: keeps a deployment when newer ones would push it out, or lets it go.

use crate::deploy::error::DeployError;
use crate::deploy::host::Host;
use crate::deploy::observe;
use crate::model::{Outcome, Role};

/// Performs the verb.
pub fn perform(host: &mut Host, index: u32, pinned: bool) -> Result<Outcome, DeployError> {
    let status = observe::observe(host)?;
    let missing = || match status.deployments.len() {
        0 => DeployError::Empty,
        count => DeployError::NoDeployment { index, last: count - 1 },
    };
    let at = usize::try_from(index).unwrap_or(usize::MAX);
    let deployment = status.deployments.get(at).ok_or_else(missing)?;
    let native = host.deployments().into_iter().nth(at).ok_or_else(missing)?;
    if pinned && deployment.role == Role::Staged {
        return Err(DeployError::PinStaged { index });
    }
    host.sysroot()
        .deployment_set_pinned(&native, pinned)
        .map_err(DeployError::ostree(format!("cannot change the pin of deployment {index}")))?;
    let changed = deployment.pinned != pinned;
    let message = match (changed, pinned) {
        (true, true) => format!("{} is pinned: it stays until it is unpinned.", deployment.label()),
        (true, false) => format!("{} is no longer pinned.", deployment.label()),
        (false, true) => format!("{} was pinned already.", deployment.label()),
        (false, false) => format!("{} was not pinned.", deployment.label()),
    };
    Ok(Outcome { changed, message, reboot_pending: status.reboot_pending(), ..Outcome::default() })
}
