//! What the service manager handed over to this process: the socket to serve on, which clients may
//! already wait at, and the descriptors that it kept for a daemon before this one.

use std::os::fd::RawFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};

/// The first descriptor that a service manager hands over.
const FIRST: RawFd = 3;
/// What systemd calls the socket: its unit.
const SOCKET: &str = "keelson-containers.socket";

/// What was handed over.
#[derive(Debug, Default)]
pub struct Handover {
    /// The socket to serve on.
    pub listener: Option<UnixListener>,
    /// The names of what was kept. It is closed here; the service manager holds it still.
    pub kept: Vec<String>,
}

impl Handover {
    /// Takes everything; a second call gets nothing that can be used.
    pub fn take() -> Self {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let names = handed(&variable("LISTEN_PID"), &variable("LISTEN_FDS"), &variable("LISTEN_FDNAMES"));
        let mut sockets = ListenFd::from_env();
        let mut handover = Self::default();
        for (index, (fd, name)) in names.into_iter().enumerate() {
            if name == SOCKET {
                match sockets.take_unix_listener(index) {
                    // The programs that this daemon runs have no use for it.
                    Ok(Some(listener)) if fcntl_setfd(&listener, FdFlags::CLOEXEC).is_ok() => {
                        handover.listener = Some(listener);
                    }
                    Ok(_) => tracing::warn!("the service manager handed no socket over"),
                    Err(error) => tracing::warn!(%error, "the socket of the service manager is of no use"),
                }
                continue;
            }
            if let Err(error) = nix::unistd::close(fd) {
                tracing::warn!(fd, %error, "cannot close a descriptor of the service manager");
            }
            handover.kept.push(name);
        }
        handover.kept.sort_unstable();
        handover.kept.dedup();
        handover
    }
}

/// The descriptors for this process, with their names.
fn handed(pid: &str, fds: &str, names: &str) -> Vec<(RawFd, String)> {
    if pid.parse() != Ok(std::process::id()) || fds.parse().unwrap_or(0) < 1 {
        return Vec::new();
    }
    let count = fds.parse().unwrap_or(0);
    let names = names.split(':').chain(std::iter::repeat("unknown"));
    names.take(count).zip(FIRST..).map(|(name, fd)| (fd, name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_meant_for_this_process_is_taken() {
        let own = std::process::id().to_string();
        let names = |pid: &str, fds: &str, names: &str| -> Vec<String> {
            handed(pid, fds, names).into_iter().map(|(fd, name)| format!("{fd}{name}")).collect()
        };
        assert_eq!(names(&own, "3", "b:a:b"), ["3b", "4a", "5b"]);
        assert_eq!(names(&own, "2", "b"), ["3b", "4unknown"]);
        assert!(names("1", "3", "b:a:b").is_empty());
        assert!(names("", "", "").is_empty());
        assert!(names(&own, "-5", "").is_empty());
    }
}
