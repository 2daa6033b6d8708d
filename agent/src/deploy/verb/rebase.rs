//! `rebase`: follows another ref from here on, of another remote if need be. Where it fails, the
//! remote is as it was.

use crate::deploy::context::Context;
use crate::deploy::error::DeployError;
use crate::deploy::host::Host;
use crate::deploy::{observe, remote};
use crate::model::request::Rebase;
use crate::model::{HostStatus, Outcome, UpdateState};

use super::{check, upgrade};

/// Performs the verb. A ref whose commit is older is taken too: another ref is another history.
pub fn perform(host: &mut Host, options: &Rebase, context: &Context) -> Result<Outcome, DeployError> {
    let status = observe::observe(host)?;
    let source = check::source(&status, Some(&options.refspec), None)?;
    let before = remote::snapshot(host, &source.remote);
    remote::change(host, &source.remote, &options.remote)?;
    let result = switch(host, &status, &source, context);
    if result.is_err() && !options.remote.is_empty() {
        remote::restore(host, &before)?;
    }
    result
}

fn switch(
    host: &mut Host,
    status: &HostStatus,
    source: &crate::deploy::pull::Source,
    context: &Context,
) -> Result<Outcome, DeployError> {
    let update = check::with_ref_kept(host, source, |host| {
        let update = check::fetch(host, status, source, context)?;
        upgrade::download(host, source, &update, context)?;
        Ok(update)
    })?;
    let followed = crate::deploy::stage::base(status)?.refspec.as_deref() == Some(&update.refspec);
    if followed && matches!(update.state, UpdateState::UpToDate | UpdateState::Staged) {
        let message = format!("The host follows {} already, and has the newest of it.", update.refspec);
        let reboot_pending = status.reboot_pending();
        return Ok(Outcome { message, reboot_pending, update: Some(update), ..Outcome::default() });
    }
    upgrade::keep(host, source, &update.to.checksum)?;
    upgrade::deploy(host, status, &update, context)?;
    let when = if status.booted.is_some() { "staged; it runs after a reboot" } else { "deployed" };
    let message = format!("{} of {} is {when}.", update.to.label(), update.refspec);
    let reboot_pending = status.booted.is_some();
    Ok(Outcome { changed: true, message, reboot_pending, update: Some(update), freed: None })
}
