//! Owns the framing of output without a terminal: `[stream, 0, 0, 0, length (4, big-endian)]`, then
//! as many bytes.

use bytes::{Buf, Bytes, BytesMut};

/// Where bytes of a process go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Takes frames apart as they come.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: BytesMut,
    current: Option<(u8, usize)>,
}

impl Frames {
    /// Adds what was read.
    pub fn feed(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next bytes and where they go, as far as they have come: long frames are not gathered.
    pub fn next(&mut self) -> anyhow::Result<Option<(Stream, Bytes)>> {
        loop {
            let (kind, left) = match self.current {
                Some(current) => current,
                None if self.buffer.len() < 8 => return Ok(None),
                None => {
                    let header = self.buffer.split_to(8);
                    anyhow::ensure!(header[0] <= 3, "unrecognized stream {} from the daemon", header[0]);
                    (header[0], (&header[4..]).get_u32() as usize)
                }
            };
            self.current = (left > 0).then_some((kind, left));
            if left == 0 {
                continue;
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let piece = self.buffer.split_to(left.min(self.buffer.len())).freeze();
            self.current = (piece.len() < left).then_some((kind, left - piece.len()));
            match kind {
                2 => return Ok(Some((Stream::Err, piece))),
                3 => anyhow::bail!("error from daemon in stream: {}", String::from_utf8_lossy(&piece)),
                _ => return Ok(Some((Stream::Out, piece))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frames: &mut Frames) -> Vec<(Stream, Vec<u8>)> {
        std::iter::from_fn(|| frames.next().unwrap()).map(|(stream, bytes)| (stream, bytes.to_vec())).collect()
    }

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let whole =
            [&[1, 0, 0, 0, 0, 0, 0, 3][..], b"out", &[1, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 2], b"er"]
                .concat();
        for cut in 0..whole.len() {
            let mut frames = Frames::default();
            frames.feed(&whole[..cut]);
            let mut got = all(&mut frames);
            frames.feed(&whole[cut..]);
            got.extend(all(&mut frames));
            let of = |wanted| got.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, b)| b.clone()).collect();
            let (out, err): (Vec<u8>, Vec<u8>) = (of(Stream::Out), of(Stream::Err));
            assert_eq!((out.as_slice(), err.as_slice()), (&b"out"[..], &b"er"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut frames = Frames::default();
        frames.feed(b"/ # ls -l");
        assert!(frames.next().is_err());
    }
}
