//! Owns rebooting the host: systemd is asked to, so that the staged deployment is finalized on the
//! way down.

use zbus::Connection;
use zbus::OwnedObjectPath;

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    /// Starts a unit and gives the job.
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
}

/// Begins the reboot. The manager's own `Reboot` method would stop no services first.
pub async fn reboot(connection: &Connection) -> zbus::Result<()> {
    ManagerProxy::new(connection).await?.start_unit("reboot.target", "replace-irreversibly").await.map(drop)
}
