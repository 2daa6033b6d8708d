//! `rollback`: makes the other deployment the next to boot.

use crate::deploy::context::Context;
use crate::deploy::error::DeployError;
use crate::deploy::host::Host;
use crate::deploy::{observe, order, stage};
use crate::model::{Outcome, Phase, Role};

/// Performs the verb.
pub fn perform(host: &mut Host, context: &Context) -> Result<Outcome, DeployError> {
    let status = observe::observe(host)?;
    let (order, target) = order::rollback(&status.deployments)?;
    context.begin(Phase::Staging);
    stage::write_order(host, &order, context)?;
    stage::nothing_new(host);
    let target = &status.deployments[target];
    let message = match target.role {
        Role::Booted => format!("{} stays: what was to boot next no longer does.", target.label()),
        _ => format!("{} runs after a reboot.", target.label()),
    };
    let reboot_pending = status.booted.is_some() && target.role != Role::Booted;
    Ok(Outcome { changed: true, message, reboot_pending, ..Outcome::default() })
}
