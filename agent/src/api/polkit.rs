//! Owns who may do what: root everything; anyone else what polkit says, and nothing where there is
//! no polkit. Reading asks nobody.

use std::collections::HashMap;

use zbus::message::Header;
use zbus::{Connection, Variant};

use crate::model::Request;

use super::error::ApiError;

/// Set in a call's flags to let polkit ask the person for a password.
const ALLOW_INTERACTION: u32 = 1;

#[zbus::proxy(
    interface = "org.freedesktop.PolicyKit1.Authority",
    default_service = "org.freedesktop.PolicyKit1",
    default_path = "/org/freedesktop/PolicyKit1/Authority"
)]
trait Authority {
    /// Gives whether the subject is authorized, whether a challenge could make it so, and details.
    fn check_authorization(
        &self,
        subject: &(&str, HashMap<&str, Variant<'_>>),
        action: &str,
        details: HashMap<&str, &str>,
        flags: u32,
        cancellation: &str,
    ) -> zbus::Result<(bool, bool, HashMap<String, String>)>;
}

/// The polkit action a request needs.
pub fn action(request: &Request) -> &'static str {
    match request {
        Request::Check => "org.keelson.Host1.check",
        Request::Upgrade(options) if !options.allow_downgrade => "org.keelson.Host1.upgrade",
        Request::Rebase(options) if !options.remote.is_empty() => "org.keelson.Host1.configure",
        Request::Remote(_) => "org.keelson.Host1.configure",
        _ => "org.keelson.Host1.deploy",
    }
}

/// Gives the caller's uid where the caller may have `request` done.
pub async fn authorize(connection: &Connection, header: &Header<'_>, request: &Request) -> Result<u32, ApiError> {
    let sender = header.sender().ok_or_else(|| ApiError::Denied("the caller has no name on the bus".into()))?;
    let bus = zbus::fdo::DBusProxy::new(connection).await?;
    let uid = bus.get_connection_unix_user(sender.clone().into()).await.map_err(zbus::Error::from)?;
    if uid == 0 {
        return Ok(uid);
    }
    let action = action(request);
    let authority = AuthorityProxy::new(connection).await?;
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(sender.as_str()))]));
    let answer = authority.check_authorization(&subject, action, HashMap::new(), ALLOW_INTERACTION, "").await;
    match answer {
        Ok((true, ..)) => Ok(uid),
        Ok((false, ..)) => {
            let text = format!("uid {uid} may not have {} done: polkit denies {action}; root may", request.noun());
            Err(ApiError::Denied(text))
        }
        Err(error) => {
            tracing::debug!(%error, "polkit cannot be asked");
            let text = format!("only root may have {} done here: there is no polkit to ask", request.noun());
            Err(ApiError::Denied(text))
        }
    }
}
