//! Owns a line of the CRI's log format: `TIME STREAM TAGS TEXT`.

use jiff::Timestamp;

/// A line as containerd writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// When it was written.
    pub time: Timestamp,
    /// Whether to the standard error.
    pub error: bool,
    /// The text, with its end of line unless the line goes on in the next.
    pub text: &'a [u8],
}

/// Reads a line with its end, if it has one. Nothing if it is not of the format.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    let (tags, text) = word(rest)?;
    let time = str::from_utf8(time).ok()?.parse().ok()?;
    let error = match stream {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
    let text = if partial { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
    Some(Line { time, error, text })
}

fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..end], &line[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = parse(b"2016-10-06T02:17:09.669794202+02:00 stderr F a b\n").expect("a line");
        assert_eq!(line.time.to_string(), "2016-10-06T00:17:09.669794202Z");
        assert!(line.error);
        assert_eq!(line.text, b"a b\n");
        assert_eq!(parse(b"2016-10-06T00:17:09Z stdout F \n").expect("a line").text, b"\n");
    }

    #[test]
    fn a_line_that_goes_on_has_no_end() {
        assert_eq!(parse(b"2016-10-06T00:17:09Z stdout P:x a\n").expect("a line").text, b"a");
    }

    #[test]
    fn what_is_not_of_the_format_is_not_a_line() {
        for line in [&b"\n"[..], b"now stdout F a\n", b"2016-10-06T00:17:09Z stdin F a\n", b"2016-10-06T00:17:09Z F\n"] {
            assert_eq!(parse(line), None);
        }
    }
}
