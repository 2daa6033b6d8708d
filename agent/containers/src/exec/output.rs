//! Owns reading what a further process says. It goes to who started it, and nowhere else.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::sync::watch;

use super::State;
use crate::streams::record::{self, Stream};
use crate::streams::session::{Output, Piece};

/// A process of its own may hold the output open after the end; it is waited for so long.
const GRACE: Duration = Duration::from_millis(500);

/// The reading ends of its FIFOs.
#[derive(Debug)]
pub struct Reader {
    pipes: [Option<Receiver>; 2],
    state: watch::Receiver<State>,
}

impl Reader {
    /// Opens those of `paths` that there are, before the shim does.
    pub fn open(paths: [Option<&Path>; 2], state: watch::Receiver<State>) -> io::Result<Self> {
        let [out, err] = paths.map(|path| path.map(open).transpose());
        Ok(Self { pipes: [out?, err?], state })
    }

    /// Reads to the end, for no one.
    pub async fn drain(mut self) {
        while let Ok(Some(_)) = self.next().await {}
    }
}

fn open(path: &Path) -> io::Result<Receiver> {
    OpenOptions::new().open_receiver(path)
}

impl Output for Reader {
    /// The end comes only when the exit code is known.
    async fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            let ended = self.state.borrow_and_update().ended();
            let [out, err] = &self.pipes;
            if out.is_none() && err.is_none() {
                // The sender lives as long as the process is known.
                self.state.wait_for(State::ended).await.ok();
                return Ok(None);
            }
            let (stream, readable) = tokio::select! {
                readable = readable(out.as_ref()) => (Stream::Stdout, readable),
                readable = readable(err.as_ref()) => (Stream::Stderr, readable),
                changed = self.state.changed(), if !ended => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(None),
                },
                () = tokio::time::sleep(GRACE), if ended => return Ok(None),
            };
            readable?;
            let Some(pipe) = &self.pipes[stream.index()] else { continue };
            let mut buffer = vec![0; 32 << 10];
            match pipe.try_read(&mut buffer) {
                Ok(0) => self.pipes[stream.index()] = None,
                Ok(read) => {
                    buffer.truncate(read);
                    return Ok(Some(Piece { stream, time: record::now(), data: Bytes::from(buffer) }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn readable(pipe: Option<&Receiver>) -> io::Result<()> {
    match pipe {
        Some(pipe) => pipe.readable().await,
        None => std::future::pending().await,
    }
}
