//! Owns reading a log forward, in the order in which the bytes came, while it is written to, rotated
//! and shortened.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::folder::Folder;
use super::record::{Record, SIZE, Stream};
use super::segment::{self, Position};

/// Records are read so many at a time.
const BATCH: usize = 256;

/// Bytes of one stream that came at `time`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// From where.
    pub stream: Stream,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The bytes.
    pub data: Bytes,
}

/// Where to begin: at a place, without the bytes of a stream before another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start {
    /// The first record to look at.
    pub at: Position,
    /// For each stream, segment and offset of the first byte that is wanted.
    pub skip: [(u64, u64); 2],
}

impl Start {
    /// From `at` on, all of it.
    pub fn at(at: Position) -> Self {
        Self { at, skip: [(0, 0); 2] }
    }

    /// What both want.
    pub fn and(self, other: Self) -> Self {
        let key = |start: &Self| (start.at.segment, start.at.index);
        let at = if key(&self) <= key(&other) { self.at } else { other.at };
        Self { at, skip: [self.skip[0].max(other.skip[0]), self.skip[1].max(other.skip[1])] }
    }
}

/// Reads a log.
#[derive(Debug)]
pub struct Reader {
    dir: Arc<Folder>,
    at: Position,
    skip: [(u64, u64); 2],
    files: Option<(File, [Option<File>; 2])>,
    batch: std::vec::IntoIter<Record>,
    /// A record of which only a part has been given.
    rest: Option<Record>,
}

impl Reader {
    /// Reads the log in `dir` from `start`.
    pub fn new(dir: Arc<Folder>, start: Start) -> Self {
        Self { dir, at: start.at, skip: start.skip, files: None, batch: Vec::new().into_iter(), rest: None }
    }

    /// The next bytes, at most `most` of them; records that follow each other in one stream are put
    /// together when `together`. `None` at the end of what there is by now.
    pub fn next(&mut self, most: usize, together: bool) -> io::Result<Option<Piece>> {
        while let Some(record) = self.record()? {
            let Some(mut piece) = self.piece(record, most)? else { continue };
            if together
                && self.rest.is_none()
                && self.batch.as_slice().first().is_some_and(|next| next.stream == record.stream)
            {
                self.extend(&mut piece, most)?;
            }
            return Ok(Some(piece));
        }
        Ok(None)
    }

    fn extend(&mut self, piece: &mut Piece, most: usize) -> io::Result<()> {
        let mut data = BytesMut::from(std::mem::take(&mut piece.data));
        while data.len() < most
            && self.rest.is_none()
            && let Some(next) = self.batch.as_slice().first().copied()
            && next.stream == piece.stream
        {
            self.batch.next();
            if let Some(more) = self.piece(next, most - data.len())? {
                data.extend_from_slice(&more.data);
            }
        }
        piece.data = data.freeze();
        Ok(())
    }

    fn record(&mut self) -> io::Result<Option<Record>> {
        loop {
            if let Some(record) = self.rest.take().or_else(|| self.batch.next()) {
                return Ok(Some(record));
            }
            if self.files.is_some() && self.fill()? {
                continue;
            }
            let Some(next) = self.following()? else { return Ok(None) };
            // The writer goes on only after the last record: what was missed is there now.
            if self.files.is_some() && self.fill()? {
                continue;
            }
            if !self.enter(next)? {
                return Ok(None);
            }
        }
    }

    /// Reads further records of the open segment; whether there are any.
    fn fill(&mut self) -> io::Result<bool> {
        let Some((index, _)) = &self.files else { return Ok(false) };
        let mut buffer = vec![0; BATCH * SIZE];
        let read = index.read_at(&mut buffer, self.at.index)?;
        let records: Vec<Record> = Record::decode_all(&buffer[..read]).collect();
        self.batch = records.into_iter();
        Ok(!self.batch.as_slice().is_empty())
    }

    /// The segment to go on with when the open one has no more records.
    fn following(&self) -> io::Result<Option<u64>> {
        let open = self.files.is_some();
        let wanted = |&number: &u64| if open { number > self.at.segment } else { number >= self.at.segment };
        Ok(self.dir.with(segment::list)?.into_iter().find(wanted))
    }

    fn enter(&mut self, number: u64) -> io::Result<bool> {
        let index = match self.dir.with(|dir| File::open(segment::index_path(dir, number))) {
            // It has just been rotated away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        if self.files.is_some() || number != self.at.segment {
            self.at = Position::start_of(number);
        }
        self.files = Some((index, [None, None]));
        Ok(true)
    }

    /// The wanted bytes of `record`, which is the one at our position.
    fn piece(&mut self, mut record: Record, most: usize) -> io::Result<Option<Piece>> {
        let which = record.stream.index();
        let (segment, offset) = self.skip[which];
        let unwanted = match self.at.segment.cmp(&segment) {
            std::cmp::Ordering::Less => u64::from(record.length),
            std::cmp::Ordering::Equal => offset.saturating_sub(self.at.offsets[which]).min(u64::from(record.length)),
            std::cmp::Ordering::Greater => 0,
        } as u32;
        self.at.offsets[which] += u64::from(unwanted);
        record.length -= unwanted;
        let length = record.length.min(u32::try_from(most).unwrap_or(u32::MAX)).max(u32::from(record.length > 0));
        let data = self.bytes(record.stream, length as usize)?;
        self.at.offsets[which] += u64::from(length);
        if length < record.length {
            self.rest = Some(Record { length: record.length - length, ..record });
        } else {
            self.at.index += SIZE as u64;
        }
        Ok((!data.is_empty()).then_some(Piece { stream: record.stream, time: record.time, data }))
    }

    fn bytes(&mut self, stream: Stream, length: usize) -> io::Result<Bytes> {
        let Some((_, data)) = &mut self.files else { return Ok(Bytes::new()) };
        if length == 0 {
            return Ok(Bytes::new());
        }
        let slot = &mut data[stream.index()];
        let file = match slot {
            Some(file) => file,
            None => match self.dir.with(|dir| File::open(segment::data_path(dir, self.at.segment, stream))) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Bytes::new()),
                other => slot.insert(other?),
            },
        };
        let mut buffer = BytesMut::zeroed(length);
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut buffer[filled..], self.at.offsets[stream.index()] + filled as u64)? {
                // Lost with the power of the machine.
                0 => break,
                read => filled += read,
            }
        }
        buffer.truncate(filled);
        Ok(buffer.freeze())
    }
}
