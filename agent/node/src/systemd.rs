//! Owns the way to the service manager: its D-Bus interface, as much of it as the node uses, and whether there is a
//! bus at all.

use std::path::Path;

use zbus::{OwnedObjectPath, Variant};

/// A property of a unit.
pub type Property = (&'static str, Variant<'static>);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub trait Manager {
    /// Starts a unit that has no file.
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[Property],
        auxiliary: &[(&str, &[Property])],
    ) -> zbus::Result<OwnedObjectPath>;

    /// Changes a unit; until the next boot when `runtime`.
    fn set_unit_properties(&self, name: &str, runtime: bool, properties: &[Property]) -> zbus::Result<()>;

    /// Stops a unit with all it is needed by.
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;

    /// Starts a unit, anew if it runs.
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
}

/// Whether there is a bus to ask on; there is none in a container.
pub fn has_bus() -> bool {
    Path::new("/run/dbus/system_bus_socket").exists()
}
