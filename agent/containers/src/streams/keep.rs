//! Owns what becomes of output that nobody reads: while no daemon runs, the service manager holds
//! the FIFOs open (systemd's file descriptor store).
//!
//! A shim keeps both ends of a FIFO open as long as its process writes, and closes both when that
//! ends. What was in the FIFO by then would be gone if nobody else had it open; a container that ends
//! while this daemon is being restarted would lose its last words.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use libsystemd::daemon::{NotifyState, notify, notify_with_fds};

/// Has the service manager hold the reading ends of the FIFOs of container `id`, instead of those
/// of a former run. Without a service manager nothing happens.
pub fn keep(id: &str, fifos: &[Option<OwnedFd>]) {
    forget(id);
    let fifos: Vec<RawFd> = fifos.iter().flatten().map(AsRawFd::as_raw_fd).collect();
    // A FIFO that nobody writes to any more is not broken: it is read when a daemon is there again.
    let state = [NotifyState::Fdstore, NotifyState::FdpollDisable, NotifyState::Fdname(id.to_owned())];
    if !fifos.is_empty()
        && let Err(error) = notify_with_fds(false, &state, &fifos)
    {
        tracing::warn!(id, %error, "the service manager does not hold the output of a container");
    }
}

/// Has the service manager let go of the FIFOs of container `id`.
pub fn forget(id: &str) {
    if let Err(error) = notify(false, &[NotifyState::FdstoreRemove, NotifyState::Fdname(id.to_owned())]) {
        tracing::warn!(id, %error, "the service manager still holds the output of a container");
    }
}
