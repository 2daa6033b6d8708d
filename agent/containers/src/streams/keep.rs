//! Owns what becomes of output that nobody reads: while no daemon runs, the service manager holds
//! the FIFOs open (systemd's file descriptor store).
//!
//! A shim keeps both ends of a FIFO open as long as its process writes, and closes both when that
//! ends. What was in the FIFO by then would be gone if nobody else had it open; a container that ends
//! while this daemon is being restarted would lose its last words.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use libsystemd::daemon::{NotifyState, notify, notify_with_fds};

/// The first descriptor that a service manager hands over.
const FIRST: RawFd = 3;

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

/// Closes what the service manager handed over to this process: the FIFOs are opened by their paths,
/// and the service manager holds them still. Gives the ids of the containers they belong to.
pub fn handed_over() -> Vec<String> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (fds, names) = handed(&variable("LISTEN_PID"), &variable("LISTEN_FDS"), &variable("LISTEN_FDNAMES"));
    for fd in fds {
        if let Err(error) = nix::unistd::close(fd) {
            tracing::warn!(fd, %error, "cannot close a descriptor of the service manager");
        }
    }
    names
}

/// The descriptors for this process, and their names without repetition.
fn handed(pid: &str, fds: &str, names: &str) -> (std::ops::Range<RawFd>, Vec<String>) {
    let count = fds.parse().unwrap_or(0).max(0);
    if pid.parse() != Ok(std::process::id()) || count == 0 {
        return (FIRST..FIRST, Vec::new());
    }
    let mut names: Vec<String> = names.split(':').map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    (FIRST..FIRST.saturating_add(count), names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        let own = std::process::id().to_string();
        assert_eq!(handed(&own, "3", "b:a:b"), (3..6, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(handed("1", "3", "b:a:b").0, 3..3);
        assert_eq!(handed("", "", "").0, 3..3);
        assert_eq!(handed(&own, "-5", "").0, 3..3);
    }
}
