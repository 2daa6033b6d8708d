//! Owns moving the output of every container to its log: one thread for all, so that a slow disk
//! holds up logs and nothing else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};

use super::fifo;
use super::folder::Folder;
use super::reader::Piece;
use super::record::{self, Stream};
use super::segment::Position;
use super::writer::{Moved, Writer};

/// What remains in a FIFO after the end of a container is waited for so long, after each piece anew:
/// a process that outlives the container may hold its output open for ever.
const GRACE: Duration = Duration::from_millis(1500);

/// How far a log has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its end.
    pub position: Position,
    /// Whether more may come: the container runs or is about to.
    pub open: bool,
    /// How many runs of the container have ended since this daemon knows it.
    pub ended: u64,
}

/// What the writer of a log tells its readers.
#[derive(Debug)]
pub struct Channel {
    /// Where it is.
    pub folder: Arc<Folder>,
    /// How far it is.
    pub progress: watch::Sender<Progress>,
    /// Output that could not be written.
    pub lost: broadcast::Sender<Piece>,
    finish: watch::Sender<bool>,
}

impl Channel {
    /// Of a log that is to be at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self {
            folder: Folder::new(path),
            progress: watch::Sender::default(),
            lost: broadcast::channel(16).0,
            finish: watch::Sender::new(false),
        }
    }

    /// Lets the pump end once the FIFOs are empty, and waits for that.
    pub async fn finish(&self) {
        self.finish.send_replace(true);
        let mut progress = self.progress.subscribe();
        // The sender is ours.
        progress.wait_for(|progress| !progress.open).await.ok();
    }
}

/// The thread.
#[derive(Debug, Clone)]
pub struct Pumps {
    runtime: Handle,
}

impl Pumps {
    /// Starts it; it lasts as long as the process.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("logs".to_owned())
            .stack_size(256 << 10)
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Self { runtime: handle })
    }

    /// Moves what comes out of `fifos` until they end.
    pub fn add(&self, writer: Writer, fifos: [Option<OwnedFd>; 2], channel: Arc<Channel>) -> io::Result<()> {
        let _reactor = self.runtime.enter();
        let [out, err] = fifos.map(|fifo| fifo.map(fifo::watch).transpose());
        let fifos = [out?, err?];
        channel.finish.send_replace(false);
        channel.progress.send_modify(|progress| {
            progress.position = writer.position();
            progress.open = true;
        });
        self.runtime.spawn(async move {
            pump(writer, fifos, &channel).await;
            channel.progress.send_modify(|progress| {
                progress.open = false;
                progress.ended += 1;
            });
        });
        Ok(())
    }
}

async fn pump(mut writer: Writer, mut fifos: [Option<AsyncFd<OwnedFd>>; 2], channel: &Channel) {
    let mut finish = channel.finish.subscribe();
    let mut finishing = false;
    while !finishing || fifos.iter().any(Option::is_some) {
        let [out, err] = &fifos;
        let (stream, guard) = tokio::select! {
            guard = readable(out.as_ref()) => (Stream::Stdout, guard),
            guard = readable(err.as_ref()) => (Stream::Stderr, guard),
            _ = finish.wait_for(|finish| *finish), if !finishing => {
                finishing = true;
                // A FIFO that was opened after its last writer had gone is never said to be ready.
                for stream in Stream::ALL {
                    let fifo = &mut fifos[stream.index()];
                    if fifo.as_ref().is_some_and(|fifo| drained(&mut writer, stream, fifo, channel)) {
                        *fifo = None;
                    }
                }
                continue;
            }
            () = tokio::time::sleep(GRACE), if finishing => break,
        };
        let moved = guard.map(|mut guard| {
            let moved = turn(&mut writer, stream, guard.get_inner(), channel);
            if moved == Turn::Nothing {
                guard.clear_ready();
            }
            moved
        });
        if matches!(moved, Ok(Turn::End) | Err(_)) {
            fifos[stream.index()] = None;
        }
    }
}

/// What remains to be done with a FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    More,
    Nothing,
    End,
}

/// Moves all there is; whether the stream has ended.
fn drained(writer: &mut Writer, stream: Stream, fifo: &AsyncFd<OwnedFd>, channel: &Channel) -> bool {
    loop {
        match turn(writer, stream, fifo.get_ref(), channel) {
            Turn::More => {}
            other => return other == Turn::End,
        }
    }
}

async fn readable(fifo: Option<&AsyncFd<OwnedFd>>) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
    match fifo {
        Some(fifo) => fifo.readable().await,
        None => std::future::pending().await,
    }
}

/// Moves a piece.
fn turn(writer: &mut Writer, stream: Stream, fifo: &OwnedFd, channel: &Channel) -> Turn {
    match writer.take(fifo.as_fd(), stream) {
        Ok(Moved::Written) => {
            channel.progress.send_modify(|progress| progress.position = writer.position());
            Turn::More
        }
        Ok(Moved::Lost(data)) => {
            // No one may be listening.
            channel.lost.send(Piece { stream, time: record::now(), data: Bytes::from(data) }).ok();
            Turn::More
        }
        Ok(Moved::Nothing) => Turn::Nothing,
        Ok(Moved::End) => Turn::End,
        Err(error) => {
            tracing::error!(%error, "cannot read the output of a container");
            Turn::End
        }
    }
}
