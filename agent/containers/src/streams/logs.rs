//! Owns what `GET /containers/{id}/logs` gives: lines of what is there, then what comes.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::folder::Folder;
use super::follow::Follower;
use super::frame::framed;
use super::lines::{Assembler, Lines};
use super::pump::Channel;
use super::reader::{Piece, Reader, Start};
use super::{back, record};

/// Lines are read in pieces of so many bytes.
const PIECE: usize = 256 << 10;

/// What a client wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// Output and errors.
    pub wanted: [bool; 2],
    /// Nanoseconds since 1970; lines before are left out.
    pub since: Option<u64>,
    /// Nanoseconds since 1970; lines after are left out.
    pub until: Option<u64>,
    /// So many lines of the end.
    pub tail: Option<u64>,
    /// Each line with its time.
    pub timestamps: bool,
    /// What comes, too.
    pub follow: bool,
    /// The container has a terminal: its output goes out as it is.
    pub tty: bool,
}

/// Chunks of a response.
pub type Chunks = Receiver<io::Result<Bytes>>;

/// Reads a log; further output is told of by `channel`.
pub fn read(dir: Arc<Folder>, query: Query, channel: Option<&Channel>) -> Chunks {
    let (sender, receiver) = mpsc::channel(4);
    // Made first: what is written while the old is read comes after it.
    let mut follow = channel.map(|channel| Follower::new(Reader::new(dir.clone(), Start::default()), channel));
    tokio::spawn(async move {
        let mut task = Task { query, lines: Assembler::new(query.timestamps), sender, over: false };
        let past = tokio::task::spawn_blocking(move || {
            let reader = task.past(&dir);
            (reader, task)
        });
        let (reader, mut task) = match past.await {
            Ok((Ok(reader), task)) => (reader, task),
            Ok((Err(error), task)) => return task.fail(error).await,
            Err(_cancelled) => return,
        };
        if let Some(follow) = &mut follow {
            follow.read_from(reader);
            if let Err(error) = task.coming(follow).await {
                return task.fail(error).await;
            }
        }
        for lines in task.lines.rest() {
            task.give(lines).await;
        }
    });
    receiver
}

struct Task {
    query: Query,
    lines: Assembler,
    sender: Sender<io::Result<Bytes>>,
    /// The client is gone, or what it wants was given.
    over: bool,
}

impl Task {
    fn past(&mut self, dir: &Arc<Folder>) -> io::Result<Reader> {
        let start = dir.with(|dir| self.start(dir))?;
        let mut reader = Reader::new(dir.clone(), start);
        while !self.over
            && let Some(piece) = reader.next(PIECE, self.together())?
        {
            if let Some(chunk) = self.chunk(piece) {
                self.over |= self.sender.blocking_send(Ok(chunk)).is_err();
            }
        }
        Ok(reader)
    }

    fn start(&self, dir: &Path) -> io::Result<Start> {
        let mut start = Start::default();
        if let Some(tail) = self.query.tail {
            start = back::tail(dir, tail)?;
        }
        if let Some(since) = self.query.since {
            start = later(start, back::since(dir, since)?);
        }
        Ok(start)
    }

    async fn coming(&mut self, follow: &mut Follower) -> io::Result<()> {
        let until = self.query.until.map(|until| until.saturating_sub(record::now()));
        let deadline = async {
            match until {
                Some(nanos) => tokio::time::sleep(std::time::Duration::from_nanos(nanos)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(deadline);
        let gone = self.sender.clone();
        while !self.over {
            let piece = tokio::select! {
                piece = follow.next(self.together()) => piece?,
                () = &mut deadline => None,
                () = gone.closed() => None,
            };
            let Some(piece) = piece else { break };
            if let Some(chunk) = self.chunk(piece) {
                self.over |= self.sender.send(Ok(chunk)).await.is_err();
            }
        }
        Ok(())
    }

    /// Records may be read together when their times do not matter.
    fn together(&self) -> bool {
        !self.query.timestamps && self.query.until.is_none()
    }

    fn chunk(&mut self, piece: Piece) -> Option<Bytes> {
        if self.query.until.is_some_and(|until| piece.time > until) {
            self.over = true;
            return None;
        }
        if !self.query.wanted[piece.stream.index()] {
            return None;
        }
        let lines = self.lines.push(piece)?;
        Some(framed(self.query.tty, lines.stream, lines.data))
    }

    async fn give(&mut self, lines: Lines) {
        // The client may be gone.
        self.sender.send(Ok(framed(self.query.tty, lines.stream, lines.data))).await.ok();
    }

    async fn fail(self, error: io::Error) {
        self.sender.send(Err(error)).await.ok();
    }
}

/// What both want, when the one of them may be the beginning.
fn later(one: Start, two: Start) -> Start {
    if one == Start::default() { two } else { one.and(two) }
}

/// Reads a time as clients send it: seconds since 1970, with a fraction.
pub fn time(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(u64::try_from(seconds).unwrap_or_default().saturating_mul(1_000_000_000).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_with_a_fraction() {
        assert_eq!(time("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(time("1700000000.5"), Some(1_700_000_000_500_000_000));
        assert_eq!(time("1.000000001"), Some(1_000_000_001));
        assert_eq!(time("-5"), Some(0));
        for wrong in ["", "yesterday", "1.x", "1.0000000001", "2026-01-01"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
