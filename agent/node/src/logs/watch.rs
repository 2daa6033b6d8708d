//! Owns waiting for a log to grow.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

/// The folder of a log, watched by the kernel; where there are too many watches, looked at now and then.
pub(super) struct Watch {
    inotify: Option<Receiver>,
}

impl Watch {
    /// Watches the folder of `log`. What happens from now on ends the next [`Self::changed`].
    pub fn new(log: &Path) -> Self {
        let folder = log.parent().unwrap_or(Path::new("/"));
        let inotify = watch(folder).inspect_err(|error| tracing::debug!(%error, "a log is looked at by the clock"));
        Self { inotify: inotify.ok() }
    }

    /// Waits until something changes, but not longer than `limit`; whether it did.
    pub async fn changed(&self, limit: Duration) -> bool {
        let Some(inotify) = &self.inotify else {
            tokio::time::sleep(limit).await;
            return false;
        };
        let Ok(Ok(())) = tokio::time::timeout(limit, inotify.readable()).await else {
            return false;
        };
        // What happened does not matter: the log is looked at. Read until there is no more.
        let mut events = [0; 4096];
        while let Ok(1..) = inotify.try_read(&mut events) {}
        true
    }
}

fn watch(folder: &Path) -> io::Result<Receiver> {
    let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::CLOSE_WRITE;
    inotify::add_watch(&inotify, folder, what)?;
    // It is waited for and read like a pipe.
    Receiver::from_owned_fd_unchecked(inotify)
}
