//! `upgrade`: pulls what the ref holds and stages it.

use crate::deploy::context::Context;
use crate::deploy::decide;
use crate::deploy::error::DeployError;
use crate::deploy::host::Host;
use crate::deploy::pull::{self, Source};
use crate::deploy::space::{self, Need};
use crate::deploy::stage::{self, Plan};
use crate::deploy::{kargs, observe};
use crate::model::request::Upgrade;
use crate::model::{HostStatus, Outcome, Update, UpdateState};

use super::check;

/// Performs the verb.
pub fn perform(host: &mut Host, options: &Upgrade, context: &Context) -> Result<Outcome, DeployError> {
    let status = observe::observe(host)?;
    let source = check::source(&status, None, options.checksum.as_deref())?;
    let update = check::with_ref_kept(host, &source, |host| {
        let update = check::fetch(host, &status, &source, context)?;
        match update.state {
            UpdateState::Older if !options.allow_downgrade => {
                Err(decide::refuse_older(&status, &check::candidate(&update.to)))
            }
            UpdateState::Older | UpdateState::Available => download(host, &source, &update, context).map(|()| update),
            UpdateState::UpToDate | UpdateState::Staged => Ok(update),
        }
    })?;
    finish(host, &status, &source, update, options, context)
}

fn finish(
    host: &mut Host,
    status: &HostStatus,
    source: &Source,
    update: Update,
    options: &Upgrade,
    context: &Context,
) -> Result<Outcome, DeployError> {
    let (from, to) = (update.from.label().to_owned(), update.to.label().to_owned());
    let outcome = |changed, message, reboot_pending| Outcome {
        changed,
        message,
        reboot_pending,
        update: Some(update.clone()),
        freed: None,
    };
    match update.state {
        UpdateState::UpToDate => {
            return Ok(outcome(false, format!("{from} is the newest: nothing to do."), status.reboot_pending()));
        }
        UpdateState::Staged => {
            return Ok(outcome(false, format!("{to} is staged already; it runs after a reboot."), true));
        }
        UpdateState::Available | UpdateState::Older => keep(host, source, &update.to.checksum)?,
    }
    if options.download_only {
        return Ok(outcome(true, format!("{to} is downloaded; `keelctl upgrade` stages it."), status.reboot_pending()));
    }
    deploy(host, status, &update, context)?;
    let when = if status.booted.is_some() { "is staged; it runs after a reboot" } else { "is deployed" };
    Ok(outcome(true, format!("{to} {when}."), status.booted.is_some()))
}

/// Fetches everything of the update, after making sure that there is room.
pub fn download(host: &Host, source: &Source, update: &Update, context: &Context) -> Result<(), DeployError> {
    let repo = host.repo();
    let checksum = update.to.checksum.as_str();
    if !pull::is_complete(&repo, checksum) {
        let reserve = repo.min_free_space_bytes().unwrap_or_default();
        let objects = update.download.map(|download| download.unpacked).unwrap_or_default();
        let need = Need { objects, boot: stage::largest_kernel(host), reserve };
        space::check(&need, &space::free(host)?)?;
        pull::content(&repo, &source.at(checksum), context)?;
    }
    // Now the kernel's size is known, and staging must not begin what finalizing cannot end.
    let need = Need { objects: 0, boot: stage::kernel_size(host, checksum)?, reserve: 0 };
    space::check(&need, &space::free(host)?).map_err(DeployError::from)
}

/// Lets the ref name what was fetched, so that no cleanup takes it away again.
pub fn keep(host: &Host, source: &Source, checksum: &str) -> Result<(), DeployError> {
    host.repo()
        .set_ref_immediate(Some(&source.remote), &source.name, Some(checksum), gio::Cancellable::NONE)
        .map_err(DeployError::ostree("cannot write the ref into the repository"))
}

/// Stages the update, with the kernel arguments carried from the deployment it follows.
pub fn deploy(host: &Host, status: &HostStatus, update: &Update, context: &Context) -> Result<(), DeployError> {
    let repo = host.repo();
    let base = stage::base(status)?;
    let old = observe::info(&repo, &base.checksum)?.kargs;
    let new = observe::info(&repo, &update.to.checksum)?.kargs;
    let kargs = kargs::merge(&base.kargs, &old, &new);
    let plan = Plan { checksum: &update.to.checksum, refspec: &update.refspec, kargs: &kargs };
    stage::stage(host, &plan, context)
}
