//! Owns being told that the folder changed, by inotify.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

/// What tells of changes of one folder.
pub(super) struct Notify {
    /// Read as a pipe is.
    inotify: Receiver,
    /// Device and inode of the folder: another of that name needs another watch.
    identity: (u64, u64),
}

impl Notify {
    /// Watches a folder, which is made when it is missing; nothing when that cannot be done, which is
    /// logged: then changes are found late, but they are.
    pub(super) fn new(path: &Path) -> Option<Self> {
        let watched = std::fs::create_dir_all(path).and_then(|()| Self::watch(path));
        watched.inspect_err(|error| tracing::warn!(path = %path.display(), "cannot watch static pods: {error}")).ok()
    }

    /// The same watch as long as it is the same folder.
    pub(super) fn renew(notify: Option<Self>, path: &Path) -> Option<Self> {
        let now = std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        match notify {
            Some(notify) if now == Some(notify.identity) => Some(notify),
            _ => Self::new(path),
        }
    }

    fn watch(path: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let changes = WatchFlags::CREATE | WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::MOVE;
        let end = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(&inotify, path, changes | end | WatchFlags::ONLYDIR)?;
        let metadata = std::fs::metadata(path)?;
        let inotify = Receiver::from_owned_fd_unchecked(inotify)?;
        Ok(Self { inotify, identity: (metadata.dev(), metadata.ino()) })
    }

    async fn told(&self) -> io::Result<()> {
        loop {
            self.inotify.readable().await?;
            // What exactly changed is not asked: the folder is small, and is read as a whole.
            match self.inotify.try_read(&mut [0; 4096]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result.map(drop),
            }
        }
    }
}

/// Returns when the folder changed; never where nothing tells of it.
pub(super) async fn changed(notify: Option<&Notify>) {
    let Some(notify) = notify else { return std::future::pending().await };
    if let Err(error) = notify.told().await {
        tracing::warn!("cannot tell changes of static pods: {error}");
        std::future::pending().await
    }
}
