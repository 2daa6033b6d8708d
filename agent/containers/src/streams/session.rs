//! Owns one attached client: what it types goes in, what comes out goes to it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::detach::Keys;
use super::frame::framed;
use super::input::Input;
pub use super::reader::Piece;

/// Where output comes from.
pub trait Output: Send {
    /// The next of it; `None` at its end.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<Piece>>> + Send;
}

impl Output for super::Follower {
    async fn next(&mut self) -> io::Result<Option<Piece>> {
        Self::next(self, true).await
    }
}

/// Why a client is attached no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The process has ended, and everything was given.
    Ended,
    /// The keys were typed.
    Detached,
    /// The client closed its input, which the process is not to notice.
    Closed,
    /// The client is gone.
    Gone,
}

/// What a client wants.
#[derive(Debug)]
pub struct Client {
    /// Output and errors.
    pub wanted: [bool; 2],
    /// The process has a terminal: its output goes out as it is.
    pub tty: bool,
    /// What to type to leave; only a terminal can be left so.
    pub keys: Option<Keys>,
    /// The end of the client's input is the end of the process's.
    pub close: bool,
}

/// Serves a client until one side is done. `close` ends the input of the process.
pub async fn serve<C: Future<Output = ()> + Send>(
    connection: impl AsyncRead + AsyncWrite + Send,
    client: Client,
    output: &mut impl Output,
    input: Option<Input>,
    close: impl FnOnce() -> C + Send,
) -> Left {
    let (mut from, mut to) = tokio::io::split(connection);
    let Client { wanted, tty, keys, close: closes } = client;
    let typing = async move {
        let Some(mut input) = input else {
            return gone(&mut from).await;
        };
        let left = typed(&mut from, &mut input, keys).await;
        if left == Left::Closed && closes {
            if input.ready().await.is_ok() {
                close().await;
            }
            drop(input);
            // The client only closed its input: it still listens.
            return std::future::pending().await;
        }
        left
    };
    let showing = async {
        loop {
            match output.next().await {
                Ok(Some(piece)) if wanted[piece.stream.index()] => {
                    let data = framed(tty, piece.stream, piece.data);
                    if to.write_all(&data).await.is_err() || to.flush().await.is_err() {
                        return Left::Gone;
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return Left::Ended,
                Err(error) => {
                    tracing::warn!(%error, "cannot read the output of a container for who is attached");
                    return Left::Ended;
                }
            }
        }
    };
    let left = tokio::select! {
        left = typing => left,
        left = showing => left,
    };
    to.shutdown().await.ok();
    left
}

/// Waits until the client is gone; the end of its input alone does not say so.
async fn gone(from: &mut (impl AsyncRead + Unpin)) -> Left {
    let mut buffer = [0; 512];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) => return std::future::pending().await,
            Ok(_) => {}
            Err(_) => return Left::Gone,
        }
    }
}

async fn typed(from: &mut (impl AsyncRead + Unpin), input: &mut Input, mut keys: Option<Keys>) -> Left {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => return Left::Closed,
            Ok(read) => &buffer[..read],
            Err(_) => return Left::Gone,
        };
        let (written, detached) = match &mut keys {
            Some(keys) => {
                let (data, detached) = keys.filter(read);
                (input.write(&data).await, detached)
            }
            None => (input.write(read).await, false),
        };
        if detached {
            return Left::Detached;
        }
        if written.is_err() {
            // The process reads no more; its output may still come.
            return std::future::pending().await;
        }
    }
}
