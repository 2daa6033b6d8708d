//! `remote set`: changes where updates come from and whose signature they need.

use crate::deploy::error::DeployError;
use crate::deploy::host::Host;
use crate::deploy::{observe, remote};
use crate::model::Outcome;
use crate::model::request::RemoteChange;

use super::check;

/// Performs the verb on the remote that the host follows, else on ours.
pub fn perform(host: &mut Host, change: &RemoteChange) -> Result<Outcome, DeployError> {
    let status = observe::observe(host)?;
    let name = match check::source(&status, None, None) {
        Ok(source) => source.remote,
        Err(_) => keelson_common::commit::REMOTE.to_owned(),
    };
    remote::change(host, &name, change)?;
    let mut parts = Vec::new();
    if let Some(url) = &change.url {
        parts.push(format!("updates come from {url}"));
    }
    match (change.replace_keys, &change.key) {
        (true, Some(_)) => parts.push("only the given key is trusted".to_owned()),
        (true, None) => parts.push("no key is trusted any more".to_owned()),
        (false, Some(_)) => parts.push("the given key is trusted as well".to_owned()),
        (false, None) => {}
    }
    if !change.forget.is_empty() {
        parts.push(format!("no longer trusted: {}", change.forget.join(", ")));
    }
    let message =
        if parts.is_empty() { "Nothing to change.".to_owned() } else { format!("{name}: {}.", parts.join(", ")) };
    Ok(Outcome { changed: !change.is_empty(), message, reboot_pending: status.reboot_pending(), ..Outcome::default() })
}
