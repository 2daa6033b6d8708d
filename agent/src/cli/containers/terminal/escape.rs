//! Owns noticing the detach keys in what is typed.

/// Watches input for a sequence of keys.
#[derive(Debug)]
pub struct Escape {
    keys: Vec<u8>,
    /// How many of the keys were typed so far; they are held back.
    seen: usize,
}

impl Escape {
    /// For these keys; with none, nothing is noticed.
    pub fn new(keys: Vec<u8>) -> Self {
        Self { keys, seen: 0 }
    }

    /// What of `input` is to be passed on, and whether the whole sequence was typed.
    pub fn feed(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (input.to_vec(), false);
        }
        let mut out = Vec::with_capacity(input.len());
        for &byte in input {
            if byte != self.keys[self.seen] && self.seen > 0 {
                out.extend_from_slice(&self.keys[..self.seen]);
                self.seen = 0;
            }
            if byte == self.keys[self.seen] {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    return (out, true);
                }
            } else {
                out.push(byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_detaches_and_nothing_else_is_lost() {
        let mut escape = Escape::new(vec![16, 17]);
        assert_eq!(escape.feed(b"ls\n"), (b"ls\n".to_vec(), false));
        assert_eq!(escape.feed(&[b'a', 16]), (b"a".to_vec(), false));
        assert_eq!(escape.feed(b"b"), (vec![16, b'b'], false));
        assert_eq!(escape.feed(&[16, 16, 17, b'x']), (vec![16], true));
        assert_eq!(Escape::new(Vec::new()).feed(&[16, 17]), (vec![16, 17], false));
    }
}
