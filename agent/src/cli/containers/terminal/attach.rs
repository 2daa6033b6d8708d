//! Owns the passing of bytes between keelctl's standard streams and a process.

use std::io::{self, Write};

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::super::client::{Frames, Hijacked, Stream};
use super::escape::Escape;

/// What is passed.
#[derive(Debug)]
pub struct Wanted {
    /// Standard input goes to the process.
    pub input: bool,
    /// Output comes from it.
    pub output: bool,
    /// It has a terminal: output is one stream, and keys detach.
    pub tty: bool,
    /// Which.
    pub keys: Vec<u8>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process closed its output.
    Closed,
    /// The detach keys were typed.
    Detached,
}

/// Passes bytes until the process is done or the detach keys are typed.
pub async fn pass(stream: Hijacked, wanted: Wanted) -> anyhow::Result<End> {
    let (reader, writer) = tokio::io::split(stream);
    let output = output(reader, wanted.tty);
    if !wanted.input {
        // The write half stays open: to close it would tell a process that wants input of its end.
        let ended = output.await.map(|()| End::Closed);
        drop(writer);
        return ended;
    }
    let escape = Escape::new(if wanted.tty { wanted.keys } else { Vec::new() });
    let input = input(writer, escape);
    tokio::pin!(output, input);
    tokio::select! {
        ended = &mut output => ended.map(|()| End::Closed),
        end = &mut input => match end? {
            End::Detached => Ok(End::Detached),
            End::Closed if !wanted.output => Ok(End::Closed),
            End::Closed => output.await.map(|()| End::Closed),
        },
    }
}

/// Copies output until there is no more.
pub async fn output(mut reader: impl AsyncRead + Unpin, tty: bool) -> anyhow::Result<()> {
    let mut frames = Frames::default();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = reader.read(&mut buffer).await.context("the daemon went away; the container may run on")?;
        if length == 0 {
            return Ok(());
        }
        write(&buffer[..length], tty, &mut frames)?;
    }
}

/// Writes what came: as it is from a terminal, taken out of its frames otherwise.
pub fn write(data: &[u8], tty: bool, frames: &mut Frames) -> anyhow::Result<()> {
    if tty {
        return Ok(put(&mut io::stdout().lock(), data)?);
    }
    frames.feed(data);
    while let Some((stream, data)) = frames.next()? {
        match stream {
            Stream::Out => put(&mut io::stdout().lock(), &data)?,
            Stream::Err => put(&mut io::stderr().lock(), &data)?,
        }
    }
    Ok(())
}

fn put(to: &mut impl Write, data: &[u8]) -> io::Result<()> {
    to.write_all(data)?;
    to.flush()
}

/// Copies input until it ends, and says so to the process; or until the detach keys.
async fn input(mut writer: impl AsyncWrite + Unpin, mut escape: Escape) -> anyhow::Result<End> {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let length = stdin.read(&mut buffer).await.context("cannot read standard input")?;
        if length == 0 {
            // A process that is gone does not care.
            let _ = writer.shutdown().await;
            return Ok(End::Closed);
        }
        let (data, detached) = escape.feed(&buffer[..length]);
        let written = async {
            writer.write_all(&data).await?;
            writer.flush().await
        };
        if written.await.is_err() {
            // It reads no more; its output, if any, is still to come.
            return Ok(End::Closed);
        }
        if detached {
            return Ok(End::Detached);
        }
    }
}
