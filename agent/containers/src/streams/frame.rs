//! Owns the frames by which one connection carries two streams: a byte for the stream, three that are
//! zero, the length in four bytes with the largest first, and the bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::record::Stream;

/// `data` as it goes to a client: in a frame, or as it is from a terminal.
pub fn framed(tty: bool, stream: Stream, data: Bytes) -> Bytes {
    if tty {
        return data;
    }
    let mut out = BytesMut::with_capacity(data.len() + 8);
    out.put_u32((stream.index() as u32 + 1) << 24);
    out.put_u32(data.len() as u32);
    out.put_slice(&data);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_docker_makes_them() {
        let data = Bytes::from_static(b"oops\n");
        assert_eq!(framed(false, Stream::Stderr, data.clone()), Bytes::from_static(b"\x02\0\0\0\0\0\0\x05oops\n"));
        assert_eq!(framed(false, Stream::Stdout, data.clone())[0], 1);
        assert_eq!(framed(true, Stream::Stdout, data.clone()), data);
    }
}
