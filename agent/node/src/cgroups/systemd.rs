//! Owns the slices of systemd that pods' cgroups are on a host: started, changed and stopped by way of
//! the service manager, which would undo what is written behind its back.

use tokio::sync::Mutex;
use zbus::Connection;

use super::limits::{Limits, PERIOD};
use crate::systemd::{ManagerProxy, Property};

/// The way to the service manager; connects when first used, again when the connection was lost.
#[derive(Debug, Default)]
pub struct Systemd {
    connection: Mutex<Option<Connection>>,
}

impl Systemd {
    /// Starts a slice with limits; changes its limits when it is there.
    pub async fn apply(&self, name: &str, limits: &Limits, unified: bool) -> zbus::Result<()> {
        let connection = self.connect().await?;
        let answer = start(&ManagerProxy::new(&connection).await?, name, properties(limits, unified)).await;
        self.kept(answer).await
    }

    /// Stops a slice with all that runs in it; one that is not there is well.
    pub async fn stop(&self, name: &str) -> zbus::Result<()> {
        let connection = self.connect().await?;
        let answer = ManagerProxy::new(&connection).await?.stop_unit(name, "replace").await;
        let answer =
            if answer.as_ref().is_err_and(|error| is(error, "NoSuchUnit")) { Ok(()) } else { answer.map(drop) };
        self.kept(answer).await
    }

    async fn connect(&self) -> zbus::Result<Connection> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref() {
            return Ok(connection.clone());
        }
        let connection = Connection::system().await?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    /// Forgets the connection unless it was the service manager that refused.
    async fn kept<T>(&self, answer: zbus::Result<T>) -> zbus::Result<T> {
        if answer.as_ref().is_err_and(|error| !matches!(error, zbus::Error::MethodError(..))) {
            self.connection.lock().await.take();
        }
        answer
    }
}

async fn start(manager: &ManagerProxy<'_>, name: &str, limits: Vec<Property>) -> zbus::Result<()> {
    let mut all: Vec<Property> = vec![
        ("Description", "Pods of Kubernetes".into()),
        ("DefaultDependencies", false.into()),
        ("CPUAccounting", true.into()),
        ("MemoryAccounting", true.into()),
        ("IOAccounting", true.into()),
        ("TasksAccounting", true.into()),
    ];
    all.extend(limits.iter().cloned());
    match manager.start_transient_unit(name, "replace", &all, &[]).await {
        Err(error) if is(&error, "UnitExists") => manager.set_unit_properties(name, true, &limits).await,
        answer => answer.map(drop),
    }
}

fn is(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(full, ..) if full.rsplit('.').next() == Some(name))
}

/// Limits in systemd's words; what is not limited is said, too, so that a change can lift a limit.
fn properties(limits: &Limits, unified: bool) -> Vec<Property> {
    let memory = limits.memory.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(u64::MAX);
    let second = |quota: i64| u64::try_from(quota).unwrap_or_default() * 1_000_000 / PERIOD.unsigned_abs();
    let pids = limits.pids.and_then(|pids| u64::try_from(pids).ok()).unwrap_or(u64::MAX);
    let mut properties: Vec<Property> = vec![
        ("TasksMax", pids.into()),
        ("CPUQuotaPerSecUSec", limits.quota.map_or(u64::MAX, second).into()),
        ("CPUQuotaPeriodUSec", PERIOD.unsigned_abs().into()),
    ];
    if unified {
        properties.push(("CPUWeight", super::limits::weight(limits.shares).into()));
        properties.push(("MemoryMax", memory.into()));
    } else {
        properties.push(("CPUShares", limits.shares.into()));
        properties.push(("MemoryLimit", memory.into()));
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(properties: &[Property], name: &str) -> Option<u64> {
        properties.iter().find(|(known, _)| *known == name).and_then(|(_, value)| u64::try_from(value).ok())
    }

    #[test]
    fn limits_are_said_in_systemds_units() {
        let some =
            properties(&Limits { shares: 1024, quota: Some(150_000), memory: Some(1 << 20), pids: Some(9) }, true);
        assert_eq!(value(&some, "CPUWeight"), Some(39));
        assert_eq!(value(&some, "CPUQuotaPerSecUSec"), Some(1_500_000));
        assert_eq!(value(&some, "TasksMax"), Some(9));
        assert_eq!(value(&some, "MemoryMax"), Some(1 << 20));
        let none = properties(&Limits::tier(2), false);
        assert_eq!(value(&none, "CPUShares"), Some(2));
        assert_eq!(value(&none, "CPUQuotaPerSecUSec"), Some(u64::MAX));
        assert_eq!(value(&none, "MemoryLimit"), Some(u64::MAX));
    }
}
