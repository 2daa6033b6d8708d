//! Owns waiting for the signals by which a daemon is asked to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Ends when the process gets SIGTERM or SIGINT, from the call on; both no longer kill it. To be called in
/// an asynchronous runtime.
pub fn stopped() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
