//! One module a request: each takes the locked [`Host`] and gives an [`Outcome`].

mod check;
mod cleanup;
mod kargs;
mod pin;
mod rebase;
mod remote;
mod rollback;
mod upgrade;

use crate::model::{Outcome, Request};

use super::context::Context;
use super::error::DeployError;
use super::host::Host;

/// Does what is asked, under libostree's lock.
pub fn perform(host: &mut Host, request: &Request, context: &Context) -> Result<Outcome, DeployError> {
    let _lock = host.lock()?;
    match request {
        Request::Check => check::perform(host, context),
        Request::Upgrade(options) => upgrade::perform(host, options, context),
        Request::Rollback { .. } => rollback::perform(host, context),
        Request::Pin { index, pinned } => pin::perform(host, *index, *pinned),
        Request::Kargs { edit, .. } => kargs::perform(host, edit, context),
        Request::Rebase(options) => rebase::perform(host, options, context),
        Request::Cleanup { pending, rollback } => cleanup::perform(host, *pending, *rollback, context),
        Request::Remote(change) => remote::perform(host, change),
    }
}
