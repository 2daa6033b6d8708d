//! Owns finding where in a log to begin: so many lines before its end, or at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::reader::Start;
use super::record::{Record, Stream};
use super::segment::{self, Position};

/// Bytes are looked through so many at a time.
const BLOCK: u64 = 64 << 10;

/// Where the last `lines` lines of the log in `dir` begin, those of both streams counted together by
/// where they end. A line without an end is one.
pub fn tail(dir: &Path, lines: u64) -> io::Result<Start> {
    search(dir, segment::end(dir)?, lines, true)
}

/// Where the lines begin that ended at `time` or after it.
pub fn since(dir: &Path, time: u64) -> io::Result<Start> {
    for number in segment::list(dir)? {
        let mut found = None;
        let mut position = Position::start_of(number);
        segment::each(&mut File::open(segment::index_path(dir, number))?, |record| {
            if record.time >= time {
                found = Some(position);
            }
            position = position.after(record);
            found.is_none()
        })?;
        if let Some(position) = found {
            return search(dir, position, 0, false);
        }
    }
    Ok(Start::at(segment::end(dir)?))
}

/// Goes back from `from` over the ends of lines. The first `lines` are passed; the next one of each
/// stream is what its wanted bytes begin behind.
fn search(dir: &Path, from: Position, lines: u64, unfinished_counts: bool) -> io::Result<Start> {
    let mut search =
        Search { left: lines, unfinished_counts, started: [false; 2], start: Start::at(from), done: [false; 2] };
    let mut numbers = segment::list(dir)?;
    numbers.retain(|&number| number <= from.segment);
    for number in numbers.into_iter().rev() {
        let end = if number == from.segment { from } else { segment::end_of(dir, number)? };
        match search.segment(dir, end) {
            Ok(true) => {}
            Ok(false) => break,
            // Rotated away since: there is nothing before it either.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(search.start)
}

struct Search {
    /// Ends of lines that may yet be passed.
    left: u64,
    unfinished_counts: bool,
    /// Of which streams any bytes were seen.
    started: [bool; 2],
    /// Of which streams the beginning is found.
    done: [bool; 2],
    start: Start,
}

impl Search {
    /// Goes back over the segment that ends at `at`; whether the one before it matters.
    fn segment(&mut self, dir: &Path, mut at: Position) -> io::Result<bool> {
        let index = File::open(segment::index_path(dir, at.segment))?;
        let mut data: [Option<File>; 2] = [None, None];
        while at.index > 0 {
            for record in segment::chunk_before(&index, at.index)?.into_iter().rev() {
                if self.finished(&at) {
                    return Ok(!self.done.iter().all(|&done| done));
                }
                let which = record.stream.index();
                let before = at.before(record);
                if !self.done[which] {
                    let file = match &mut data[which] {
                        Some(file) => file,
                        slot => slot.insert(File::open(segment::data_path(dir, at.segment, record.stream))?),
                    };
                    self.record(file, at, before.offsets[which], record)?;
                    // Of a record with which nothing wanted begins, nothing is read.
                    if !self.done[which] || self.start.skip[which].1 < at.offsets[which] {
                        self.start.at = before;
                    }
                }
                at = before;
            }
        }
        Ok(!self.done.iter().all(|&done| done))
    }

    /// Whether nothing before `at` in this segment matters.
    fn finished(&self, at: &Position) -> bool {
        Stream::ALL.iter().all(|stream| self.done[stream.index()] || at.offsets[stream.index()] == 0)
    }

    /// Looks for ends of lines in the bytes of `record`, which end at `at` and begin at `begin`.
    fn record(&mut self, file: &File, at: Position, begin: u64, record: Record) -> io::Result<()> {
        let which = record.stream.index();
        let mut end = at.offsets[which];
        let mut buffer = vec![0; BLOCK.min(end - begin) as usize];
        while end > begin {
            let length = BLOCK.min(end - begin) as usize;
            let block = &mut buffer[..length];
            match file.read_exact_at(block, end - length as u64) {
                // Lost with the power of the machine: no line ends there.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => block.fill(0),
                other => other?,
            }
            if !self.started[which] {
                self.started[which] = true;
                if self.unfinished_counts && block.last() != Some(&b'\n') && self.passed(which, (at.segment, end)) {
                    return Ok(());
                }
            }
            for (offset, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                if self.passed(which, (at.segment, end - length as u64 + offset as u64 + 1)) {
                    return Ok(());
                }
            }
            end -= length as u64;
        }
        Ok(())
    }

    /// Meets the end of a line; whether that is where the stream begins.
    fn passed(&mut self, which: usize, end: (u64, u64)) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        self.done[which] = true;
        self.start.skip[which] = end;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::Folder;
    use super::super::reader::Reader;
    use super::super::segment::{data_path, index_path};
    use super::*;

    /// A log of segments of pieces: stream (`o` or `e`), time, text.
    fn log(segments: &[&[(char, u64, &str)]]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (number, pieces) in segments.iter().enumerate() {
            let number = number as u64 + 3;
            let (mut index, mut data) = (Vec::new(), [Vec::new(), Vec::new()]);
            for &(stream, time, text) in *pieces {
                let stream = if stream == 'e' { Stream::Stderr } else { Stream::Stdout };
                index.extend(Record { time, length: text.len() as u32, stream }.encode());
                data[stream.index()].extend_from_slice(text.as_bytes());
            }
            std::fs::write(index_path(dir.path(), number), index).unwrap();
            for stream in Stream::ALL {
                std::fs::write(data_path(dir.path(), number, stream), &data[stream.index()]).unwrap();
            }
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, start: Start) -> String {
        let mut reader = Reader::new(Folder::new(dir.path().to_owned()), start);
        let mut text = String::new();
        while let Some(piece) = reader.next(5, false).unwrap() {
            text.push_str(std::str::from_utf8(&piece.data).unwrap());
        }
        text
    }

    fn example() -> tempfile::TempDir {
        log(&[
            &[('o', 1, "one\ntw"), ('e', 2, "error\nwarn"), ('o', 3, "o\n")],
            &[('o', 4, "three\nfo"), ('e', 5, "ing\n"), ('o', 6, "ur")],
        ])
    }

    #[test]
    fn the_last_lines_of_both_streams_are_found_across_segments() {
        let log = example();
        let tailed = |lines| read(&log, tail(log.path(), lines).unwrap());
        assert_eq!(tailed(0), "");
        assert_eq!(tailed(1), "four");
        assert_eq!(tailed(2), "warnfoing\nur");
        assert_eq!(tailed(3), "warnthree\nfoing\nur");
        assert_eq!(tailed(4), "twwarno\nthree\nfoing\nur");
        assert_eq!(tailed(5), "twerror\nwarno\nthree\nfoing\nur");
        assert_eq!(tailed(9), "one\ntwerror\nwarno\nthree\nfoing\nur");
    }

    #[test]
    fn lines_that_ended_since_a_time_are_whole() {
        let log = example();
        let since = |time| read(&log, since(log.path(), time).unwrap());
        assert_eq!(since(0), "one\ntwerror\nwarno\nthree\nfoing\nur");
        assert_eq!(since(3), "twwarno\nthree\nfoing\nur");
        assert_eq!(since(5), "warnfoing\nur");
        assert_eq!(since(7), "");
    }

    #[test]
    fn both_bounds_hold_together() {
        let log = example();
        let start = since(log.path(), 5).unwrap().and(tail(log.path(), 1).unwrap());
        assert_eq!(read(&log, start), "four");
        let start = since(log.path(), 5).unwrap().and(tail(log.path(), 9).unwrap());
        assert_eq!(read(&log, start), "warnfoing\nur");
    }

    #[test]
    fn there_may_be_no_log() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(tail(dir.path(), 3).unwrap(), Start::default());
        assert_eq!(read(&dir, since(&dir.path().join("none"), 3).unwrap()), "");
    }
}
