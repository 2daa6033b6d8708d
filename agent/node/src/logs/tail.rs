//! Owns finding where the last lines of a log begin, from its end.

use std::io::{Read, Seek, SeekFrom};

/// How much is read at once.
const BLOCK: u64 = 16 << 10;

/// Where the last `lines` whole lines begin. What comes after the last end of line counts as none.
pub(super) fn start(file: &mut (impl Read + Seek), lines: u64) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut found = 0;
    let mut block = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(begin))?;
        block.clear();
        file.by_ref().take(end - begin).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            if found == lines {
                return Ok(begin + at as u64 + 1);
            }
            found += 1;
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn last(text: &str, lines: u64) -> &str {
        &text[usize::try_from(start(&mut Cursor::new(text), lines).expect("read")).expect("a place")..]
    }

    #[test]
    fn the_last_lines() {
        assert_eq!(last("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last("a\nb\nc\n", 0), "");
        assert_eq!(last("a\nb\nc\n", 3), "a\nb\nc\n");
        assert_eq!(last("a\nb\nc\n", 9), "a\nb\nc\n");
        assert_eq!(last("", 1), "");
        assert_eq!(last("\n\n\n", 2), "\n\n");
    }

    #[test]
    fn a_line_without_end_is_none() {
        assert_eq!(last("a\nb\ncut", 1), "b\ncut");
    }

    #[test]
    fn lines_longer_than_what_is_read_at_once() {
        let long = "x".repeat(40 << 10);
        let text = format!("a\n{long}\n{long}\n");
        assert_eq!(last(&text, 1), format!("{long}\n"));
        assert_eq!(last(&text, 2).len(), 2 * (long.len() + 1));
    }
}
