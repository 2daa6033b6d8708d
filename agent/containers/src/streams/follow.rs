//! Owns reading a log as it grows: what attached clients and `logs -f` see. Each reads the files at
//! its own pace, so a slow one holds up no other and not the container.

use std::io;

use tokio::sync::{broadcast, watch};

use super::pump::{Channel, Progress};
use super::reader::{Piece, Reader};

/// So many bytes are read at a time.
const PIECE: usize = 64 << 10;

/// A reader that waits for what is not yet there.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    progress: watch::Receiver<Progress>,
    lost: broadcast::Receiver<Piece>,
    /// The run after which nothing is waited for.
    last: u64,
}

impl Follower {
    /// Follows until the run that is or the next that will be has ended.
    pub fn new(reader: Reader, channel: &Channel) -> Self {
        let progress = channel.progress.subscribe();
        let last = progress.borrow().ended + 1;
        Self { reader, progress, lost: channel.lost.subscribe(), last }
    }

    /// To the end of what there is by now.
    pub fn without_waiting(mut self) -> Self {
        self.last = 0;
        self
    }

    /// Goes on where `reader` is.
    pub fn read_from(&mut self, reader: Reader) {
        self.reader = reader;
    }

    /// The next bytes; `None` when the container has ended and everything was read.
    pub async fn next(&mut self, together: bool) -> io::Result<Option<Piece>> {
        loop {
            // Looked at before reading: what is written after this wakes us again.
            let ended = self.progress.borrow_and_update().ended >= self.last;
            if let Some(piece) = self.reader.next(PIECE, together)? {
                return Ok(Some(piece));
            }
            if let Ok(piece) = self.lost.try_recv() {
                return Ok(Some(piece));
            }
            if ended {
                return Ok(None);
            }
            tokio::select! {
                changed = self.progress.changed() => if changed.is_err() {
                    return Ok(None);
                },
                lost = self.lost.recv() => if let Ok(piece) = lost {
                    return Ok(Some(piece));
                },
            }
        }
    }
}
