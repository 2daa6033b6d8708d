//! Owns where log events go: to the journal with their fields when systemd connected this process
//! to it, else to standard error. `RUST_LOG` sets what is logged.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// Sets up logging for the whole process.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,zbus=warn"));
    let registry = tracing_subscriber::registry().with(filter);
    // A field `version` becomes KEELSON_VERSION, so that journalctl can select by it.
    let journal = match libsystemd::logging::connected_to_journal() {
        true => tracing_journald::layer().ok(),
        false => None,
    };
    match journal {
        Some(layer) => registry.with(layer.with_field_prefix(Some("KEELSON".to_owned()))).init(),
        None => registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false)).init(),
    }
}
