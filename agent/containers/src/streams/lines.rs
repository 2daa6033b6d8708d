//! Owns making whole lines of what came in pieces, so that lines of two streams do not mix and each
//! can have its time before it.

use bytes::{Bytes, BytesMut};

use super::reader::Piece;
use super::record::Stream;

/// A line that is longer is given in parts.
const LONGEST: usize = 16 << 10;

/// Whole lines of one stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Lines {
    /// From where.
    pub stream: Stream,
    /// The bytes.
    pub data: Bytes,
}

/// Lines of both streams.
#[derive(Debug, Default)]
pub struct Assembler {
    timestamps: bool,
    held: [Held; 2],
}

#[derive(Debug, Default)]
struct Held {
    data: BytesMut,
    time: u64,
    /// The beginning of this line has been given.
    within: bool,
}

impl Assembler {
    /// With `timestamps`, each line begins with the time at which its end came.
    pub fn new(timestamps: bool) -> Self {
        Self { timestamps, held: Default::default() }
    }

    /// Takes a piece; gives the lines that are whole now, if any.
    pub fn push(&mut self, piece: Piece) -> Option<Lines> {
        let held = &mut self.held[piece.stream.index()];
        let Piece { stream, time, mut data } = piece;
        held.time = time;
        let whole = match data.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => data.split_to(last + 1),
            None if held.data.len() + data.len() > LONGEST => data.split_off(0),
            None => Bytes::new(),
        };
        if whole.is_empty() {
            held.data.extend_from_slice(&data);
            return None;
        }
        let given = held.give(self.timestamps, &whole);
        held.data.extend_from_slice(&data);
        Some(Lines { stream, data: given })
    }

    /// What is left at the end: lines that have none.
    pub fn rest(&mut self) -> Vec<Lines> {
        let mut rest = Vec::new();
        for stream in Stream::ALL {
            let held = &mut self.held[stream.index()];
            if !held.data.is_empty() {
                rest.push(Lines { stream, data: held.give(self.timestamps, &Bytes::new()) });
            }
        }
        rest
    }
}

impl Held {
    fn give(&mut self, timestamps: bool, whole: &Bytes) -> Bytes {
        let data = match self.data.is_empty() {
            true => whole.clone(),
            false => {
                self.data.extend_from_slice(whole);
                self.data.split().freeze()
            }
        };
        let within = std::mem::replace(&mut self.within, data.last() != Some(&b'\n'));
        if timestamps { stamped(&data, self.time, within) } else { data }
    }
}

/// `data` with the time before each line, save the first when that goes on.
fn stamped(data: &[u8], time: u64, within: bool) -> Bytes {
    let stamp = rfc3339(time);
    let mut out = BytesMut::with_capacity(data.len() + 64);
    for (number, line) in data.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if number > 0 || !within {
            out.extend_from_slice(stamp.as_bytes());
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(line);
    }
    out.freeze()
}

/// `2026-01-31T12:00:00.000000001Z`: nine digits of nanoseconds, as Docker's log lines have it.
pub fn rfc3339(nanos: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos);
    humantime::format_rfc3339_nanos(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: Stream, time: u64, text: &str) -> Piece {
        Piece { stream, time, data: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn text(lines: Option<Lines>) -> Option<String> {
        lines.map(|lines| String::from_utf8_lossy(&lines.data).into_owned())
    }

    #[test]
    fn lines_of_two_streams_do_not_mix() {
        let mut lines = Assembler::new(false);
        assert_eq!(text(lines.push(piece(Stream::Stdout, 1, "one\ntw"))).as_deref(), Some("one\n"));
        assert_eq!(text(lines.push(piece(Stream::Stderr, 2, "error\n"))).as_deref(), Some("error\n"));
        assert_eq!(text(lines.push(piece(Stream::Stdout, 3, "o\n"))).as_deref(), Some("two\n"));
        assert_eq!(lines.push(piece(Stream::Stdout, 3, "prompt> ")), None);
        assert_eq!(lines.rest(), [Lines { stream: Stream::Stdout, data: Bytes::from_static(b"prompt> ") }]);
        assert_eq!(lines.rest(), []);
    }

    #[test]
    fn each_line_has_the_time_of_its_end_and_a_long_one_has_it_once() {
        let mut lines = Assembler::new(true);
        assert_eq!(lines.push(piece(Stream::Stdout, 1, "a")), None);
        let given = text(lines.push(piece(Stream::Stdout, 1_000_000_002, "b\nc\n"))).unwrap();
        assert_eq!(given, "1970-01-01T00:00:01.000000002Z ab\n1970-01-01T00:00:01.000000002Z c\n");
        let long = "x".repeat(LONGEST + 1);
        let first = text(lines.push(piece(Stream::Stdout, 0, &long))).unwrap();
        assert_eq!(first, format!("1970-01-01T00:00:00.000000000Z {long}"));
        assert_eq!(text(lines.push(piece(Stream::Stdout, 5, "end\n"))).as_deref(), Some("end\n"));
    }
}
