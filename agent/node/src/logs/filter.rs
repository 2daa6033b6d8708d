//! Owns [`Filter`]: from lines of the log to what somebody asked to see.

use std::io::Write;
use std::ops::ControlFlow;

use super::line;
use super::options::{Options, Stream};

/// Turns lines of a log to what is shown.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    options: &'a Options,
    /// Whether the next text begins a line of the container.
    fresh: bool,
    /// Bytes that may still be shown.
    remaining: u64,
    /// Lines that may still be shown.
    lines: u64,
}

impl<'a> Filter<'a> {
    /// Nothing shown yet.
    pub fn new(options: &'a Options) -> Self {
        // Who follows sees the last lines and all that come.
        let lines = options.tail.filter(|_| !options.follow).unwrap_or(u64::MAX);
        Self { options, fresh: true, remaining: options.limit.unwrap_or(u64::MAX), lines }
    }

    /// Whether nothing more will be shown.
    pub fn done(&self) -> bool {
        self.remaining == 0 || self.lines == 0
    }

    /// Shows all whole lines of `bytes`; gives how many bytes those were.
    pub fn lines(&mut self, bytes: &[u8], shown: &mut Vec<u8>) -> (usize, ControlFlow<()>) {
        let mut taken = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            if self.done() {
                return (taken, ControlFlow::Break(()));
            }
            self.line(line, shown);
            taken += line.len();
        }
        (taken, if self.done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Shows a line, which may lack its end at the end of a log.
    pub fn line(&mut self, bytes: &[u8], shown: &mut Vec<u8>) {
        let Some(line) = line::parse(bytes) else {
            if !bytes.is_empty() {
                tracing::debug!("a line of a log is not of the CRI's format");
            }
            return;
        };
        let wanted = match self.options.stream {
            Stream::All => true,
            Stream::Output => !line.error,
            Stream::Error => line.error,
        };
        if wanted && self.options.since.is_none_or(|since| line.time >= since) {
            if self.options.timestamps && self.fresh {
                let mut prefix = Vec::with_capacity(32);
                let _ = write!(prefix, "{:.9} ", line.time);
                self.show(&prefix, shown);
            }
            self.show(line.text, shown);
        }
        self.lines = self.lines.saturating_sub(1);
        self.fresh = line.text.last().is_none_or(|byte| *byte == b'\n');
    }

    fn show(&mut self, bytes: &[u8], shown: &mut Vec<u8>) {
        let fits = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(bytes.len());
        shown.extend_from_slice(&bytes[..fits]);
        self.remaining -= fits as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"\
2024-01-01T00:00:01.5Z stdout F one\n\
2024-01-01T00:00:02Z stderr P tw\n\
2024-01-01T00:00:03Z stderr F o\n\
nonsense\n\
2024-01-01T00:00:04Z stdout F three\n\
2024-01-01T00:00:05Z stdout F cut";

    fn shown(options: &Options) -> String {
        let (mut filter, mut shown) = (Filter::new(options), Vec::new());
        let (taken, flow) = filter.lines(LOG, &mut shown);
        if flow.is_continue() {
            filter.line(&LOG[taken..], &mut shown);
        }
        String::from_utf8(shown).expect("text")
    }

    #[test]
    fn all_of_it() {
        assert_eq!(shown(&Options::default()), "one\ntwo\nthree\ncut");
    }

    #[test]
    fn one_stream_of_two() {
        assert_eq!(shown(&Options { stream: Stream::Error, ..Default::default() }), "two\n");
        assert_eq!(shown(&Options { stream: Stream::Output, ..Default::default() }), "one\nthree\ncut");
    }

    #[test]
    fn times_begin_lines_and_not_what_goes_on() {
        let options =
            Options { timestamps: true, since: "2024-01-01T00:00:02Z".parse().ok(), tail: Some(4), ..Default::default() };
        assert_eq!(
            shown(&options),
            "2024-01-01T00:00:02.000000000Z two\n2024-01-01T00:00:04.000000000Z three\n"
        );
    }

    #[test]
    fn not_more_bytes_than_asked() {
        assert_eq!(shown(&Options { limit: Some(6), ..Default::default() }), "one\ntw");
        assert_eq!(shown(&Options { limit: Some(4), timestamps: true, ..Default::default() }), "2024");
    }

    #[test]
    fn who_follows_sees_more_than_the_last_lines() {
        assert_eq!(shown(&Options { tail: Some(1), ..Default::default() }), "one\n");
        assert_eq!(shown(&Options { tail: Some(1), follow: true, ..Default::default() }), "one\ntwo\nthree\ncut");
    }
}
