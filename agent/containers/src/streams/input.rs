//! Owns what goes into a container or a further process in it.

use std::io;
use std::path::PathBuf;

use tokio::net::unix::pipe::Sender;
use tokio::sync::watch;

use super::fifo;
use super::pump::Progress;

/// The input of a process; it is open as long as this is.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    /// Says when the container is about to start, before which there is no FIFO.
    progress: Option<watch::Receiver<Progress>>,
    sender: Option<Sender>,
}

impl Input {
    /// Input through the FIFO at `path`.
    pub fn new(path: PathBuf, progress: Option<watch::Receiver<Progress>>) -> Self {
        Self { path, progress, sender: None }
    }

    /// Waits until the process takes input.
    pub async fn ready(&mut self) -> io::Result<()> {
        if self.sender.is_some() {
            return Ok(());
        }
        if let Some(progress) = &mut self.progress {
            let removed = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the container is removed");
            progress.wait_for(|progress| progress.open).await.map_err(removed)?;
        }
        self.sender = Some(fifo::open_to_write(&self.path)?);
        Ok(())
    }

    /// Hands `bytes` on, as the process takes them.
    pub async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.ready().await?;
        let Some(sender) = &self.sender else { return Ok(()) };
        while !bytes.is_empty() {
            sender.writable().await?;
            match sender.try_write(bytes) {
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
