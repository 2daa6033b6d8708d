//! Owns the connection to keeld, and saying why there is none.

use std::path::Path;

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use zbus::DBusError;

use crate::api::client::{HostProxy, connect};
use crate::api::error::ApiError;
use crate::deploy::DeployError;
use crate::model::HostStatus;

/// A connection to keeld, and how to print.
pub struct Session {
    /// keeld.
    pub keeld: HostProxy<'static>,
    /// Whether to print one JSON document.
    pub json: bool,
}

impl Session {
    /// Connects to the bus; keeld itself is started by the first call.
    pub async fn open(bus: Option<&str>, json: bool) -> anyhow::Result<Self> {
        let connection = connect(bus).await.map_err(|error| {
            if is_host() {
                anyhow!(error).context("cannot connect to the system bus, over which keeld is reached")
            } else {
                DeployError::NotOstree.into()
            }
        })?;
        let builder = HostProxy::builder(&connection).cache_properties(zbus::proxy::CacheProperties::No);
        let keeld = builder.build().await.context("cannot talk to keeld")?;
        Ok(Self { keeld, json })
    }

    /// Connects anew where the bus ended the connection, as one does that is restarted.
    pub async fn renew(&mut self, bus: Option<&str>) -> anyhow::Result<()> {
        if self.keeld.inner().connection().is_closed() {
            *self = Self::open(bus, self.json).await?;
        }
        Ok(())
    }

    /// The deployments and the running transaction.
    pub async fn status(&self) -> anyhow::Result<HostStatus> {
        answer(self.keeld.status().await)
    }
}

fn is_host() -> bool {
    Path::new("/run/ostree-booted").exists()
}

/// A document out of keeld's answer.
pub fn answer<T: DeserializeOwned>(answer: Result<String, ApiError>) -> anyhow::Result<T> {
    let text = answer.map_err(refused)?;
    serde_json::from_str(&text).context("keeld answered with a document of another version; is it still the old one?")
}

/// Why keeld did not take a call on, in plain words.
pub fn refused(error: ApiError) -> anyhow::Error {
    let absent = match &error {
        ApiError::Bus(zbus::Error::FDO(error)) => is_absent(error.name().as_str()),
        ApiError::Bus(zbus::Error::MethodError(name, ..)) => is_absent(name.as_str()),
        _ => false,
    };
    match (absent, is_host()) {
        (false, _) => anyhow!(error.text()),
        (true, true) => anyhow!("keeld does not run ({}); `systemctl status keeld` shows why", error.text()),
        (true, false) => DeployError::NotOstree.into(),
    }
}

/// Whether an error's name means that nobody owns keeld's name and nobody could be started.
fn is_absent(name: &str) -> bool {
    let absent = ["ServiceUnknown", "NameHasNoOwner", "NoReply", "TimedOut"];
    name.starts_with("org.freedesktop.DBus.Error.Spawn")
        || name.starts_with("org.freedesktop.systemd1.")
        || name.strip_prefix("org.freedesktop.DBus.Error.").is_some_and(|rest| absent.contains(&rest))
}

#[cfg(test)]
#[path = "../../tests/agent/world/bus.rs"]
mod bus;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::bus::Bus;
    use super::*;

    #[tokio::test]
    async fn a_bus_that_was_restarted_is_connected_to_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut bus = Bus::start(folder.path());
        // Without its guid, which is another after a restart; nobody's configuration has one.
        let address = bus.address.split(',').next().unwrap_or_default().to_owned();
        let mut session = Session::open(Some(&address), true).await.unwrap();
        let before = session.keeld.inner().connection().clone();
        session.renew(Some(&address)).await.unwrap();
        assert!(session.keeld.inner().connection().unique_name() == before.unique_name(), "all is well");
        bus.restart(folder.path());
        tokio::time::timeout(Duration::from_secs(60), before.closed()).await.unwrap();
        session.renew(Some(&address)).await.unwrap();
        assert!(!session.keeld.inner().connection().is_closed());
    }

    #[test]
    fn an_absent_keeld_is_told_from_a_refusing_one() {
        assert!(is_absent("org.freedesktop.DBus.Error.ServiceUnknown"));
        assert!(is_absent("org.freedesktop.DBus.Error.Spawn.ChildExited"));
        assert!(!is_absent("org.freedesktop.DBus.Error.AccessDenied") && !is_absent("org.keelson.Host1.Error.Busy"));
    }
}
