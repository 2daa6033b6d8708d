//! Owns writing a log: bytes go from a FIFO to a file inside the kernel (splice(2)), so that whenever
//! this process is killed each byte is either in the FIFO still or in the file already. The index is
//! written after; what a killed process left out of it is found at the next start.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use super::limits::Limits;
use super::record::{self, Record, SIZE, Stream};
use super::segment::{self, Position};

/// As much is moved at once: what fits into a FIFO.
const PIECE: u64 = 1 << 20;

/// What became of a turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    /// Bytes went to the log.
    Written,
    /// Bytes could not be written: they are handed on to who listens, and else lost.
    Lost(Vec<u8>),
    /// There is nothing to read.
    Nothing,
    /// There never will be.
    End,
}

/// The one who writes a log.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    limits: Limits,
    at: Position,
    files: Option<Files>,
    /// Bytes in the files that the index does not tell of, because it could not be written.
    unindexed: [u64; 2],
    lost: u64,
    reason: String,
}

#[derive(Debug)]
struct Files {
    index: File,
    data: [Option<File>; 2],
}

impl Writer {
    /// Goes on with the log in `dir`, where there may be none yet. Bytes that the index does not tell
    /// of get records.
    pub fn open(dir: PathBuf, limits: Limits) -> io::Result<Self> {
        let mut writer = Self {
            dir,
            limits,
            at: Position::default(),
            files: None,
            unindexed: [0; 2],
            lost: 0,
            reason: String::new(),
        };
        if let Some(&number) = segment::list(&writer.dir)?.last() {
            writer.recover(number)?;
        }
        Ok(writer)
    }

    /// The end of the log.
    pub fn position(&self) -> Position {
        self.at
    }

    fn recover(&mut self, number: u64) -> io::Result<()> {
        self.at = segment::end_of(&self.dir, number)?;
        let index = segment::open_to_write(&segment::index_path(&self.dir, number))?;
        index.set_len(self.at.index)?;
        let mut files = Files { index, data: [None, None] };
        for stream in Stream::ALL {
            let path = segment::data_path(&self.dir, number, stream);
            let told = self.at.offsets[stream.index()];
            let data = match path.symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some((other?, segment::open_to_write(&path)?)),
            };
            let (length, modified) = match &data {
                Some((metadata, _)) => {
                    (metadata.len(), metadata.modified().map_or_else(|_| record::now(), record::nanos))
                }
                None => (0, 0),
            };
            if length < told {
                // The machine lost power and the file its end: what comes begins a segment of its own.
                return self.begin(number + 1);
            }
            files.data[stream.index()] = data.map(|(_, file)| file);
            self.unindexed[stream.index()] = length - told;
            let at = &mut self.at;
            write_records(&files.index, at, &mut self.unindexed, stream, modified)?;
        }
        self.files = Some(files);
        Ok(())
    }

    /// Begins segment `number` and forgets those that are too old.
    fn begin(&mut self, number: u64) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let index = segment::open_to_write(&segment::index_path(&self.dir, number))?;
        self.files = Some(Files { index, data: [None, None] });
        self.unindexed = [0; 2];
        self.at = Position::start_of(number);
        for old in segment::list(&self.dir)? {
            if old + self.limits.segments <= number {
                segment::remove(&self.dir, old)?;
            }
        }
        Ok(())
    }

    /// Moves what is in `fifo` to the log, as much as one turn takes.
    pub fn take(&mut self, fifo: BorrowedFd<'_>, stream: Stream) -> io::Result<Moved> {
        match self.splice(fifo, stream) {
            Ok(0) => Ok(Moved::End),
            Ok(length) => {
                self.unindexed[stream.index()] += length as u64;
                self.index(stream);
                Ok(Moved::Written)
            }
            Err(Errno::AGAIN) => Ok(Moved::Nothing),
            Err(Errno::INTR) => Ok(Moved::Written),
            Err(error) => self.lose(fifo, error),
        }
    }

    fn splice(&mut self, fifo: BorrowedFd<'_>, stream: Stream) -> rustix::io::Result<usize> {
        if self.files.is_none() || self.at.size() >= self.limits.size {
            // Nothing to write, no segment.
            if peek(fifo)? == 0 {
                return Ok(0);
            }
            self.begin(self.at.segment + 1).map_err(errno)?;
        }
        if self.lost > 0 {
            self.tell_of_loss(stream).map_err(errno)?;
        }
        let room = self.limits.size.saturating_sub(self.at.size()).clamp(1, PIECE);
        let mut offset = self.at.offsets[stream.index()] + self.unindexed[stream.index()];
        let file = self.data(stream).map_err(errno)?;
        rustix::pipe::splice(
            fifo,
            None,
            file.as_fd(),
            Some(&mut offset),
            room as usize,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        )
    }

    fn data(&mut self, stream: Stream) -> io::Result<&File> {
        let path = segment::data_path(&self.dir, self.at.segment, stream);
        let files = self.files.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        let slot = &mut files.data[stream.index()];
        match slot {
            Some(file) => Ok(file),
            None => Ok(slot.insert(segment::open_to_write(&path)?)),
        }
    }

    /// Writes the records that are due. When that fails they stay due: the bytes are in the log.
    fn index(&mut self, last: Stream) {
        let Some(files) = &self.files else { return };
        let other = Stream::ALL[1 - last.index()];
        for stream in [other, last] {
            let written = write_records(&files.index, &mut self.at, &mut self.unindexed, stream, record::now());
            if let Err(error) = written {
                tracing::debug!(dir = %self.dir.display(), %error, "cannot write the index of a log");
                return;
            }
        }
    }

    /// Takes bytes that cannot be written out of the FIFO all the same: a container shall not stand
    /// still because a disk is full.
    fn lose(&mut self, fifo: BorrowedFd<'_>, error: Errno) -> io::Result<Moved> {
        let mut buffer = vec![0; 64 << 10];
        match rustix::io::read(fifo, &mut buffer) {
            Ok(0) => Ok(Moved::End),
            Ok(length) => {
                if self.lost == 0 {
                    tracing::warn!(dir = %self.dir.display(), %error, "output of a container cannot be written and is lost");
                }
                self.lost += length as u64;
                self.reason = io::Error::from(error).to_string();
                buffer.truncate(length);
                Ok(Moved::Lost(buffer))
            }
            Err(Errno::AGAIN) => Ok(Moved::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Says in the log itself how much of it is missing here.
    fn tell_of_loss(&mut self, stream: Stream) -> io::Result<()> {
        let line = format!("keeld: {} bytes of output were lost here: {}\n", self.lost, self.reason);
        let offset = self.at.offsets[stream.index()] + self.unindexed[stream.index()];
        let file = self.data(stream)?;
        if let Err(error) = file.write_all_at(line.as_bytes(), offset) {
            file.set_len(offset)?;
            return Err(error);
        }
        self.lost = 0;
        self.unindexed[stream.index()] += line.len() as u64;
        self.index(stream);
        Ok(())
    }
}

/// Writes records for what is not yet in the index of `stream`.
fn write_records(
    index: &File,
    at: &mut Position,
    unindexed: &mut [u64; 2],
    stream: Stream,
    time: u64,
) -> io::Result<()> {
    let due = &mut unindexed[stream.index()];
    while *due > 0 {
        let length = u32::try_from(*due).unwrap_or(u32::MAX);
        let record = Record { time, length, stream };
        debug_assert_eq!(at.index % SIZE as u64, 0);
        index.write_all_at(&record.encode(), at.index)?;
        *at = at.after(record);
        *due -= u64::from(length);
    }
    Ok(())
}

/// 0 at the end of `fifo`, 1 when it has bytes, `EAGAIN` when it has none yet; it keeps them all.
fn peek(fifo: BorrowedFd<'_>) -> rustix::io::Result<usize> {
    let (_reader, writer) = rustix::pipe::pipe()?;
    rustix::pipe::tee(fifo, writer, 1, SpliceFlags::NONBLOCK)
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use io::Write;
    use std::path::Path;

    use super::super::folder::Folder;
    use super::super::reader::{Reader, Start};
    use super::*;

    fn pipe() -> (io::PipeReader, io::PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        (reader, writer)
    }

    fn open(dir: &Path, size: u64, segments: u64) -> Writer {
        Writer::open(dir.join("log"), Limits { size, segments }).unwrap()
    }

    fn read(dir: &Path) -> String {
        let mut reader = Reader::new(Folder::new(dir.join("log")), Start::default());
        let mut text = String::new();
        while let Some(piece) = reader.next(1000, true).unwrap() {
            text.push_str(std::str::from_utf8(&piece.data).unwrap());
        }
        text
    }

    #[test]
    fn bytes_go_to_the_log_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(dir.path(), 1 << 20, 1);
        let ((out, mut to_out), (err, mut to_err)) = (pipe(), pipe());
        assert_eq!(writer.take(out.as_fd(), Stream::Stdout).unwrap(), Moved::Nothing);
        assert!(!dir.path().join("log").exists(), "nothing was written");
        for (text, error) in [("one\n", "warning\n"), ("two\n", "")] {
            to_out.write_all(text.as_bytes()).unwrap();
            assert_eq!(writer.take(out.as_fd(), Stream::Stdout).unwrap(), Moved::Written);
            if !error.is_empty() {
                to_err.write_all(error.as_bytes()).unwrap();
                assert_eq!(writer.take(err.as_fd(), Stream::Stderr).unwrap(), Moved::Written);
            }
        }
        assert_eq!(writer.take(out.as_fd(), Stream::Stdout).unwrap(), Moved::Nothing);
        drop(to_out);
        assert_eq!(writer.take(out.as_fd(), Stream::Stdout).unwrap(), Moved::End);
        assert_eq!(read(dir.path()), "one\nwarning\ntwo\n");
        assert_eq!(open(dir.path(), 1 << 20, 1).position(), writer.position());
    }

    #[test]
    fn what_a_killed_writer_did_not_index_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (out, mut to_out) = pipe();
        let mut writer = open(dir.path(), 1 << 20, 1);
        to_out.write_all(b"told\n").unwrap();
        writer.take(out.as_fd(), Stream::Stdout).unwrap();
        let log = dir.path().join("log");
        let mut data =
            std::fs::OpenOptions::new().append(true).open(segment::data_path(&log, 1, Stream::Stdout)).unwrap();
        data.write_all(b"untold\n").unwrap();
        let mut index = std::fs::OpenOptions::new().append(true).open(segment::index_path(&log, 1)).unwrap();
        index.write_all(b"torn").unwrap();
        let mut writer = open(dir.path(), 1 << 20, 1);
        to_out.write_all(b"new\n").unwrap();
        writer.take(out.as_fd(), Stream::Stdout).unwrap();
        assert_eq!(read(dir.path()), "told\nuntold\nnew\n");
    }

    #[test]
    fn a_log_shorter_than_its_index_goes_on_in_a_new_segment() {
        let dir = tempfile::tempdir().unwrap();
        let (out, mut to_out) = pipe();
        let mut writer = open(dir.path(), 1 << 20, 2);
        to_out.write_all(b"kept\nnot kept\n").unwrap();
        writer.take(out.as_fd(), Stream::Stdout).unwrap();
        let log = dir.path().join("log");
        segment::open_to_write(&segment::data_path(&log, 1, Stream::Stdout)).unwrap().set_len(5).unwrap();
        let mut writer = open(dir.path(), 1 << 20, 2);
        to_out.write_all(b"new\n").unwrap();
        writer.take(out.as_fd(), Stream::Stdout).unwrap();
        assert_eq!(read(dir.path()), "kept\nnew\n");
    }

    #[test]
    fn old_segments_go_and_the_end_of_the_output_costs_none() {
        let dir = tempfile::tempdir().unwrap();
        let (out, mut to_out) = pipe();
        let mut writer = open(dir.path(), 100, 2);
        for number in 0..100 {
            writeln!(to_out, "{number:09}").unwrap();
            assert_eq!(writer.take(out.as_fd(), Stream::Stdout).unwrap(), Moved::Written);
        }
        drop(to_out);
        assert_eq!(writer.take(out.as_fd(), Stream::Stdout).unwrap(), Moved::End);
        let segments = segment::list(&dir.path().join("log")).unwrap();
        assert_eq!(segments.len(), 2);
        assert_eq!(std::fs::read_dir(dir.path().join("log")).unwrap().count(), 4);
        let text = read(dir.path());
        assert!(text.ends_with("000000098\n000000099\n"), "{text}");
        assert!((40..=100).contains(&text.len()), "{text}");
    }

    #[test]
    fn output_that_cannot_be_written_does_not_stay_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let (out, mut to_out) = pipe();
        let mut writer = open(dir.path(), 1 << 20, 1);
        to_out.write_all(b"before\n").unwrap();
        writer.take(out.as_fd(), Stream::Stdout).unwrap();
        // As a full disk has it.
        let files = writer.files.as_mut().unwrap();
        let kept = files.data[0].replace(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
        to_out.write_all(b"lost\n").unwrap();
        assert_eq!(writer.take(out.as_fd(), Stream::Stdout).unwrap(), Moved::Lost(b"lost\n".to_vec()));
        writer.files.as_mut().unwrap().data[0] = kept;
        to_out.write_all(b"after\n").unwrap();
        assert_eq!(writer.take(out.as_fd(), Stream::Stdout).unwrap(), Moved::Written);
        let text = read(dir.path());
        assert!(text.starts_with("before\nkeeld: 5 bytes of output were lost here: "), "{text}");
        assert!(text.ends_with("\nafter\n"), "{text}");
    }
}
