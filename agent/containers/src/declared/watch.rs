//! Owns waiting for a change of the files that declare containers, by inotify.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A change is often several: an editor's, a tool's that writes many files.
const CALM: Duration = Duration::from_millis(200);

/// What is waited for.
#[derive(Debug)]
pub struct Watch {
    descriptor: AsyncFd<OwnedFd>,
    folders: Vec<PathBuf>,
}

impl Watch {
    /// Watches these folders, also those that are not there yet.
    pub fn new(folders: &[PathBuf]) -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        #[expect(deprecated, reason = "the other way is unsafe; an OwnedFd is one descriptor for its whole life")]
        let watch =
            Self { descriptor: AsyncFd::with_interest(descriptor, Interest::READABLE)?, folders: folders.to_vec() };
        watch.arm();
        Ok(watch)
    }

    /// Watches each folder, or the nearest folder above that is there. To watch what is watched
    /// already changes nothing.
    fn arm(&self) {
        let file = WatchFlags::CLOSE_WRITE | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
        let flags = file | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        for folder in &self.folders {
            let nearest = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
            if let Err(error) = inotify::add_watch(self.descriptor.get_ref(), nearest, flags) {
                tracing::warn!(path = %nearest.display(), "cannot watch for declarations: {error}");
            }
        }
    }

    /// Returns when something changed, and has been calm for a moment.
    pub async fn changed(&self) -> io::Result<()> {
        self.event().await?;
        while tokio::time::timeout(CALM, self.event()).await.is_ok() {}
        self.arm();
        Ok(())
    }

    /// Waits for at least one event, and throws away all there are.
    async fn event(&self) -> io::Result<()> {
        loop {
            let mut ready = self.descriptor.readable().await?;
            let mut buffer = [0; 4096];
            let mut seen = false;
            loop {
                match rustix::io::read(self.descriptor.get_ref(), &mut buffer) {
                    Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
                    Ok(_) | Err(rustix::io::Errno::INTR) => seen = true,
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if seen {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn soon(watch: &Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn files_and_folders_that_come_later_are_seen() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/containers.d");
        let watch = Watch::new(std::slice::from_ref(&folder)).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        assert!(soon(&watch).await);
        std::fs::write(folder.join("web.toml"), "x").unwrap();
        assert!(soon(&watch).await);
        std::fs::remove_file(folder.join("web.toml")).unwrap();
        assert!(soon(&watch).await);
        assert!(tokio::time::timeout(CALM * 2, watch.changed()).await.is_err());
    }
}
