//! Owns sending archives: a thread reads or makes them, the connection takes them piece by piece.

use std::io::{self, Read, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

const PIECE: usize = 64 * 1024;
/// Pieces that may wait.
const WAITING: usize = 4;

/// The pieces of `source`.
pub fn read(mut source: Box<dyn Read + Send>) -> mpsc::Receiver<io::Result<Bytes>> {
    make(move |writer| io::copy(&mut source, writer).map(drop))
}

/// The pieces that `write` writes; what it fails with breaks the request off.
pub fn make(write: impl FnOnce(&mut Pieces) -> io::Result<()> + Send + 'static) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces { sender, buffer: BytesMut::with_capacity(PIECE) };
        if let Err(error) = write(&mut pieces).and_then(|()| pieces.flush()) {
            // A receiver that is gone needs no error.
            let _ = pieces.sender.blocking_send(Err(error));
        }
    });
    receiver
}

/// Gathers what is written into pieces.
#[derive(Debug)]
pub struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let length = data.len().min(PIECE);
        self.buffer.extend_from_slice(&data[..length]);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A way for pieces from the connection to a thread that reads them.
pub fn pipe() -> (mpsc::Sender<Bytes>, Reader) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (sender, Reader { receiver, piece: Bytes::new() })
}

/// Reads pieces as they come.
#[derive(Debug)]
pub struct Reader {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
