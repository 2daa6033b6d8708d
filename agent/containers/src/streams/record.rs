//! Owns the index of a log: which bytes came when, in the order in which they came.
//!
//! A record is 16 bytes, little endian: nanoseconds since 1970 (8), length (4), stream (1), and
//! three that are zero. The bytes themselves lie in a file per stream, one after the other.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a record.
pub const SIZE: usize = 16;

/// Which output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output; with a terminal, all output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// Its number in pairs of things, one a stream.
    pub fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    /// Its name in the names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Some bytes that came at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// How many.
    pub length: u32,
    /// From where.
    pub stream: Stream,
}

impl Record {
    /// As it lies in the file.
    pub fn encode(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.time.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[12] = self.stream.index() as u8;
        bytes
    }

    /// Whole records of `bytes`; what is behind the last whole one is not yet written.
    pub fn decode_all(bytes: &[u8]) -> impl DoubleEndedIterator<Item = Self> + '_ {
        bytes.as_chunks::<SIZE>().0.iter().map(Self::decode)
    }

    fn decode(bytes: &[u8; SIZE]) -> Self {
        let (time, rest) = bytes.split_at(8);
        let (length, rest) = rest.split_at(4);
        Self {
            time: time.try_into().map(u64::from_le_bytes).unwrap_or_default(),
            length: length.try_into().map(u32::from_le_bytes).unwrap_or_default(),
            stream: if rest.first() == Some(&1) { Stream::Stderr } else { Stream::Stdout },
        }
    }
}

/// The time now, as records have it.
pub fn now() -> u64 {
    nanos(SystemTime::now())
}

/// `time` as records have it.
pub fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map(|time| time.as_nanos() as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_and_a_torn_one_does_not() {
        let one = Record { time: 1_700_000_000_123_456_789, length: 65536, stream: Stream::Stderr };
        let two = Record { time: 1_700_000_000_223_456_789, length: 1, stream: Stream::Stdout };
        let mut bytes = [one.encode(), two.encode()].concat();
        bytes.extend_from_slice(&one.encode()[..9]);
        assert_eq!(Record::decode_all(&bytes).collect::<Vec<_>>(), [one, two]);
    }
}
