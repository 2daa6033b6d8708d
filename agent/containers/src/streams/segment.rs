//! Owns how a log lies on disk: segments with a number each, the highest being written to.
//!
//! ```text
//! 00000007.index   which bytes came when (see [`super::record`])
//! 00000007.stdout  the bytes, as they came
//! 00000007.stderr
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::{Record, SIZE, Stream};

/// A place in a log, between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The number of the segment; 0 is before all of them.
    pub segment: u64,
    /// Bytes of its index before this place.
    pub index: u64,
    /// Bytes of each stream in this segment before this place.
    pub offsets: [u64; 2],
}

impl Position {
    /// The beginning of a segment.
    pub fn start_of(segment: u64) -> Self {
        Self { segment, ..Self::default() }
    }

    /// The place behind `record`, which is at this one.
    pub fn after(mut self, record: Record) -> Self {
        self.index += SIZE as u64;
        self.offsets[record.stream.index()] += u64::from(record.length);
        self
    }

    /// The place before `record`, which ends at this one.
    pub fn before(mut self, record: Record) -> Self {
        self.index -= SIZE as u64;
        let offset = &mut self.offsets[record.stream.index()];
        *offset = offset.saturating_sub(u64::from(record.length));
        self
    }
}

/// Bytes of all files up to here.
impl Position {
    /// How large the segment is up to this place.
    pub fn size(&self) -> u64 {
        self.index + self.offsets.iter().sum::<u64>()
    }
}

/// The path of the index of segment `number`.
pub fn index_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.index"))
}

/// The path of the bytes of `stream` in segment `number`.
pub fn data_path(dir: &Path, number: u64, stream: Stream) -> PathBuf {
    dir.join(format!("{number:08}.{}", stream.name()))
}

/// The numbers of the segments in `dir`, ascending; none when there is no such folder.
pub fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        numbers.extend(entry?.file_name().to_str().and_then(number_of));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".index")?.parse().ok()
}

/// Removes segment `number`: its index last, for without one the rest would never be found again.
pub fn remove(dir: &Path, number: u64) -> io::Result<()> {
    let data = Stream::ALL.map(|stream| data_path(dir, number, stream));
    for path in data.into_iter().chain([index_path(dir, number)]) {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The end of what the index of segment `number` tells of.
pub fn end_of(dir: &Path, number: u64) -> io::Result<Position> {
    let mut position = Position::start_of(number);
    let mut index = File::open(index_path(dir, number))?;
    each(&mut index, |record| {
        position = position.after(record);
        true
    })?;
    Ok(position)
}

/// The end of the log in `dir`.
pub fn end(dir: &Path) -> io::Result<Position> {
    list(dir)?.last().map_or(Ok(Position::default()), |&number| end_of(dir, number))
}

/// Hands every record of `index` to `take`, until that says no.
pub fn each(index: &mut File, mut take: impl FnMut(Record) -> bool) -> io::Result<()> {
    let mut buffer = vec![0; 4096 * SIZE];
    let mut filled = 0;
    loop {
        let read = index.read(&mut buffer[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if !Record::decode_all(&buffer[..filled]).all(&mut take) {
            return Ok(());
        }
        let whole = filled / SIZE * SIZE;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// Records of `index` that end at `end`, a bounded number of them, in the order of the file.
pub fn chunk_before(index: &File, end: u64) -> io::Result<Vec<Record>> {
    let start = end.saturating_sub((4096 * SIZE) as u64);
    let mut buffer = vec![0; (end - start) as usize];
    index.read_exact_at(&mut buffer, start)?;
    Ok(Record::decode_all(&buffer).collect())
}

/// Opens a file of a log to write to, making it when there is none.
pub fn open_to_write(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o640).open(path)
}
