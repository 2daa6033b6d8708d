//! `kargs`: stages the same commit with other kernel arguments.

use crate::deploy::context::Context;
use crate::deploy::error::DeployError;
use crate::deploy::host::Host;
use crate::deploy::space::{self, Need};
use crate::deploy::stage::{self, Plan};
use crate::deploy::{kargs, observe};
use crate::model::Outcome;
use crate::model::request::KargsEdit;

/// Performs the verb.
pub fn perform(host: &mut Host, edit: &KargsEdit, context: &Context) -> Result<Outcome, DeployError> {
    let status = observe::observe(host)?;
    let base = stage::base(&status)?;
    let edited = kargs::edit(&base.kargs, edit)?;
    if edited == base.kargs {
        let message = "The kernel arguments are so already.".to_owned();
        return Ok(Outcome { message, reboot_pending: status.reboot_pending(), ..Outcome::default() });
    }
    space::check(&Need::default(), &space::free(host)?)?;
    let refspec = base.refspec.clone().ok_or(DeployError::NoOrigin)?;
    stage::stage(host, &Plan { checksum: &base.checksum, refspec: &refspec, kargs: &edited }, context)?;
    let when = if status.booted.is_some() { "after a reboot" } else { "at the next boot" };
    let message = format!("Kernel arguments {when}: {}", edited.join(" "));
    Ok(Outcome { changed: true, message, reboot_pending: status.booted.is_some(), ..Outcome::default() })
}
