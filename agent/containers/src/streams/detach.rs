//! Owns the keys by which who is attached to a terminal leaves it.

use crate::error::{Error, Result};

/// ctrl-p, ctrl-q.
const DEFAULT: [u8; 2] = [16, 17];

/// What is to be typed to leave.
#[derive(Debug, Clone)]
pub struct Keys {
    keys: Vec<u8>,
    /// So many of them were typed, and are not handed on yet.
    typed: usize,
}

impl Keys {
    /// Reads what clients send: `ctrl-a`, `a,b,ctrl-q`; empty for the default.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self { keys: DEFAULT.to_vec(), typed: 0 });
        }
        let keys = text.split(',').map(key).collect::<Option<Vec<u8>>>();
        let keys = keys.ok_or_else(|| Error::Invalid(format!("Invalid detach keys ({text}) provided")))?;
        Ok(Self { keys, typed: 0 })
    }

    /// Takes what was typed; gives what is meant for the program, and whether its user leaves.
    pub fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(input.len());
        for &byte in input {
            if self.keys.get(self.typed) != Some(&byte) {
                out.extend_from_slice(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if self.keys.get(self.typed) != Some(&byte) {
                out.push(byte);
                continue;
            }
            self.typed += 1;
            if self.typed == self.keys.len() {
                self.typed = 0;
                return (out, true);
            }
        }
        (out, false)
    }
}

fn key(name: &str) -> Option<u8> {
    if let [byte] = name.as_bytes() {
        return Some(*byte);
    }
    let &[c] = name.strip_prefix("ctrl-")?.as_bytes() else { return None };
    match c.to_ascii_lowercase() {
        c @ b'a'..=b'z' => Some(c - b'a' + 1),
        b'@' => Some(0),
        b'[' => Some(27),
        b'\\' => Some(28),
        b']' => Some(29),
        b'^' => Some(30),
        b'_' => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_dockers() {
        let mut keys = Keys::parse("").unwrap();
        assert_eq!(keys.filter(b"ls\n"), (b"ls\n".to_vec(), false));
        assert_eq!(keys.filter(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(keys.filter(b"b"), (b"\x10b".to_vec(), false));
        assert_eq!(keys.filter(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(keys.filter(b"\x11rest"), (Vec::new(), true));
    }

    #[test]
    fn keys_have_names() {
        let mut keys = Keys::parse("a,ctrl-],ctrl-Z").unwrap();
        assert_eq!(keys.filter(b"xa\x1d\x1a"), (b"x".to_vec(), true));
        for wrong in ["ctrl-", "ctrl-ab", "ctrl-1", "a,,b", "shift-a"] {
            assert!(Keys::parse(wrong).is_err(), "{wrong}");
        }
    }
}
