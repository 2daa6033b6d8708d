//! Owns reading a log to its end, and following it through rotation until its container has ended.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::filter::Filter;
use super::options::Options;
use super::tail;
use super::watch::Watch;

/// How much is read at once.
const BLOCK: usize = 64 << 10;
/// How long the container's state is not asked about while nothing happens.
const LONGEST: Duration = Duration::from_secs(1);
/// How long after something happened that brought nothing: perhaps the log was closed.
const SHORTEST: Duration = Duration::from_millis(50);

/// A log, opened.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    file: File,
    /// What has taken the log's place, to be read when nothing more comes from the old one.
    next: Option<File>,
}

impl Source {
    /// Opens a log and goes to where `options` begin.
    pub fn open(path: PathBuf, options: &Options) -> io::Result<Self> {
        let mut file = File::open(&path)?;
        let start = options.tail.map(|lines| tail::start(&mut file, lines)).transpose()?.unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { path, file, next: None })
    }

    /// What comes next; empty at the end.
    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let file = self.file.try_clone()?;
        let read = tokio::task::spawn_blocking(move || {
            let mut block = Vec::new();
            file.take(BLOCK as u64).read_to_end(&mut block).map(|_| block)
        });
        read.await.map_err(io::Error::other)?
    }

    /// Whether there is more to read although the end was reached, because another file has taken the log's
    /// place: first of the old one, to which containerd may have written up to then, and after that of the new.
    fn rotated(&mut self) -> io::Result<Rotated> {
        if let Some(next) = self.next.take() {
            self.file = next;
            return Ok(Rotated::New);
        }
        let Ok(file) = File::open(&self.path) else {
            // Moved away, and nothing written since.
            return Ok(Rotated::No);
        };
        let (new, old) = (file.metadata()?, self.file.metadata()?);
        if (new.ino(), new.dev()) == (old.ino(), old.dev()) {
            return Ok(Rotated::No);
        }
        self.next = Some(file);
        Ok(Rotated::Old)
    }
}

/// Which file is to be read after the end was reached.
enum Rotated {
    No,
    Old,
    New,
}

/// Sends what `options` ask for. When following, ends after `alive` has said no and all was sent, or when
/// nobody listens any more.
pub async fn send(
    mut source: Source,
    options: Options,
    alive: impl Fn() -> bool,
    to: Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut filter = Filter::new(&options);
    let mut rest: Vec<u8> = Vec::new();
    let (mut watch, mut ended, mut wait) = (None, false, SHORTEST);
    while !filter.done() {
        let block = source.read().await?;
        if !block.is_empty() {
            rest.extend_from_slice(&block);
            let mut shown = Vec::new();
            let (taken, _) = filter.lines(&rest, &mut shown);
            rest.drain(..taken);
            if !shown.is_empty() && to.send(Ok(shown.into())).await.is_err() {
                return Ok(());
            }
            wait = SHORTEST;
            continue;
        }
        // After the container's end the log is read once more: it may have grown before.
        if !options.follow || ended {
            break;
        }
        let Some(watch) = &watch else {
            watch = Some(Watch::new(&source.path));
            continue;
        };
        match source.rotated()? {
            Rotated::No => {}
            Rotated::Old => continue,
            Rotated::New => {
                rest.clear();
                continue;
            }
        }
        if !alive() {
            ended = true;
            continue;
        }
        tokio::select! {
            changed = watch.changed(wait) => wait = if changed { SHORTEST } else { (wait * 2).min(LONGEST) },
            () = to.closed() => return Ok(()),
        }
    }
    let mut shown = Vec::new();
    if !filter.done() {
        filter.line(&rest, &mut shown);
    }
    if !shown.is_empty() {
        let _ = to.send(Ok(shown.into())).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    fn append(log: &Path, texts: &[&str]) {
        let mut file = File::options().create(true).append(true).open(log).expect("a log");
        for text in texts {
            writeln!(file, "2024-01-01T00:00:00Z stdout F {text}").expect("written");
        }
    }

    async fn until(receiver: &mut Receiver<io::Result<Bytes>>, expected: &str) {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let next = tokio::time::timeout(Duration::from_secs(10), receiver.recv()).await.expect("in time");
            got.extend_from_slice(&next.expect("more").expect("read"));
        }
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }

    #[tokio::test]
    async fn a_log_is_read_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("0.log");
        append(&log, &["one", "two", "three"]);
        let options = Options { tail: Some(2), ..Default::default() };
        let source = Source::open(log, &options).expect("a log");
        let (sender, mut receiver) = channel(8);
        send(source, options, || true, sender).await.expect("read");
        until(&mut receiver, "two\nthree\n").await;
        assert!(receiver.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_log_is_followed_through_rotation_until_its_container_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("0.log");
        append(&log, &["one"]);
        let options = Options { follow: true, ..Default::default() };
        let source = Source::open(log.clone(), &options).expect("a log");
        let (sender, mut receiver) = channel(8);
        let runs = Arc::new(AtomicBool::new(true));
        let alive = runs.clone();
        let task = tokio::spawn(send(source, options, move || alive.load(Ordering::Relaxed), sender));
        until(&mut receiver, "one\n").await;
        append(&log, &["two"]);
        until(&mut receiver, "two\n").await;
        let old = folder.path().join("0.log.20240101-000000");
        std::fs::rename(&log, &old).expect("moved");
        append(&old, &["three"]);
        append(&log, &["four"]);
        until(&mut receiver, "three\nfour\n").await;
        runs.store(false, Ordering::Relaxed);
        append(&log, &["five"]);
        until(&mut receiver, "five\n").await;
        assert!(receiver.recv().await.is_none());
        task.await.expect("joined").expect("read");
    }

    #[tokio::test]
    async fn nobody_is_read_to_who_does_not_listen() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("0.log");
        append(&log, &[]);
        let options = Options { follow: true, ..Default::default() };
        let source = Source::open(log, &options).expect("a log");
        let (sender, receiver) = channel(8);
        let task = tokio::spawn(send(source, options, || true, sender));
        drop(receiver);
        tokio::time::timeout(Duration::from_secs(10), task).await.expect("in time").expect("joined").expect("read");
    }
}
