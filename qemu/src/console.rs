//! Owns a guest's serial console: all it prints goes to a log file as it came, and to a text
//! without terminal sequences that can be waited on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;

use crate::error::Error;

/// Bytes of text kept for waiting and for errors; the log file has everything.
const KEPT: usize = 4 << 20;
/// Lines of the console that an error shows.
const SHOWN: usize = 25;

/// Longest line an error shows in full.
const WIDE: usize = 240;

/// Something that is shown what the console prints as it comes, `true` to go on.
pub type Tap = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// What to wait for.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// This text.
    Text(String),
    /// What the expression matches, within one line unless it says otherwise.
    Regex(Regex),
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Regex> for Pattern {
    fn from(regex: Regex) -> Self {
        Self::Regex(regex)
    }
}

impl Pattern {
    /// Start and end of the first match.
    fn find(&self, text: &str) -> Option<(usize, usize)> {
        match self {
            Self::Text(wanted) => text.find(wanted).map(|start| (start, start + wanted.len())),
            Self::Regex(regex) => regex.find(text).map(|found| (found.start(), found.end())),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Regex(regex) => regex.as_str(),
        }
    }
}

/// The console. It outlives a power cycle of its machine: what is printed next is appended.
#[derive(Clone, Default)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    printed: Condvar,
}

#[derive(Default)]
struct State {
    /// What was printed, without terminal sequences; its beginning is dropped past [`KEPT`].
    text: String,
    /// How much of the beginning was dropped.
    dropped: usize,
    /// Where the next wait begins to look.
    cursor: usize,
    input: Option<UnixStream>,
    taps: Vec<Tap>,
    open: bool,
}

impl Console {
    /// Reads `stream` in a thread of its own until its end, appending to the file `log`.
    pub fn attach(&self, stream: UnixStream, log: &Path) -> Result<(), Error> {
        let file = File::options().create(true).append(true).open(log).map_err(Error::io("open", log))?;
        let input = stream.try_clone().map_err(Error::io("open", log))?;
        let mut state = self.lock();
        state.input = Some(input);
        state.open = true;
        let console = self.clone();
        std::thread::spawn(move || console.read(stream, file));
        Ok(())
    }

    fn read(&self, mut stream: UnixStream, mut log: File) {
        let (mut parser, mut plain) = (vte::Parser::new(), Plain::default());
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let chunk = &buffer[..count];
            if let Err(error) = log.write_all(chunk) {
                tracing::warn!(%error, "the console's log is cut short");
            }
            parser.advance(&mut plain, chunk);
            let mut state = self.lock();
            state.append(&std::mem::take(&mut plain.0));
            state.taps.retain_mut(|tap| tap(chunk));
            self.shared.printed.notify_all();
        }
        let mut state = self.lock();
        state.open = false;
        state.input = None;
        self.shared.printed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what is printed from here on to `tap`, until it gives `false`.
    pub fn tap(&self, tap: Tap) {
        self.lock().taps.push(tap);
    }

    /// Types `bytes` at the console.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // Written outside the lock: the guest may be slow to read while it prints.
        let input = self.lock().input.as_ref().map(UnixStream::try_clone).transpose()?;
        match input {
            Some(mut input) => input.write_all(bytes),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Waits until the console has printed `pattern` and gives the line it is in. Each wait begins
    /// where the last one's match ended, so that successive waits follow a boot.
    pub fn wait_for(&self, pattern: impl Into<Pattern>, limit: Duration) -> Result<String, Error> {
        let (pattern, start) = (pattern.into(), Instant::now());
        let mut state = self.lock();
        loop {
            if let Some((from, to)) = pattern.find(&state.text[state.cursor..]) {
                let at = state.cursor + from;
                state.cursor += to;
                return Ok(line_at(&state.text, at).to_owned());
            }
            let left = limit.saturating_sub(start.elapsed());
            if !state.open {
                return Err(Error::Off { doing: format!("its console was read for `{}`", pattern.name()) });
            }
            if left.is_zero() {
                let what = format!("`{}` on the console", pattern.name());
                return Err(Error::Timeout { what, limit, output: last_lines(&state.text) });
            }
            let result = self.shared.printed.wait_timeout(state, left);
            state = result.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The last lines printed.
    pub fn tail(&self) -> String {
        last_lines(&self.lock().text)
    }

    /// Everything printed (the last 4 MiB of it), without terminal sequences.
    pub fn text(&self) -> String {
        self.lock().text.clone()
    }

    /// How much was printed so far: a position for [`Console::since`].
    pub fn position(&self) -> usize {
        let state = self.lock();
        state.dropped + state.text.len()
    }

    /// What was printed since that position.
    pub fn since(&self, position: usize) -> String {
        let state = self.lock();
        state.text.get(position.saturating_sub(state.dropped)..).unwrap_or_default().to_owned()
    }
}

/// The text of a stream, without what steers a terminal.
#[derive(Default)]
struct Plain(String);

impl vte::Perform for Plain {
    fn print(&mut self, character: char) {
        self.0.push(character);
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\n' | b'\t') {
            self.0.push(char::from(byte));
        }
    }
}

impl State {
    fn append(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() > 2 * KEPT {
            let mut cut = self.text.len() - KEPT;
            while !self.text.is_char_boundary(cut) {
                cut += 1;
            }
            self.text.drain(..cut);
            self.dropped += cut;
            self.cursor = self.cursor.saturating_sub(cut);
        }
    }
}

fn line_at(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    text[start..].lines().next().unwrap_or_default()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(SHOWN)..].iter();
    // A boot menu redraws itself in one line of mostly blanks.
    last.map(|line| squeeze(line)).collect::<Vec<_>>().join("\n")
}

fn squeeze(line: &str) -> String {
    if line.len() <= WIDE {
        return line.to_owned();
    }
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = line.char_indices().rev().nth(WIDE - 1).map_or(0, |(start, _)| start);
    line[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn console() -> (Console, UnixStream, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let (guest, host) = UnixStream::pair().unwrap();
        let console = Console::default();
        console.attach(host, &dir.path().join("log")).unwrap();
        (console, guest, dir)
    }

    #[test]
    fn waits_follow_the_text() {
        let (console, mut guest, _dir) = console();
        guest.write_all(b"one login:\r\ntwo \x1b[0;32mOK\x1b[0m login:\r\n").unwrap();
        assert_eq!(console.wait_for("login:", SOON).unwrap(), "one login:");
        assert_eq!(console.wait_for(Regex::new("OK (login)").unwrap(), SOON).unwrap(), "two OK login:");
        let error = console.wait_for("login:", Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("  | two OK login:"), "{error}");
    }

    #[test]
    fn sequences_split_over_reads_are_removed() {
        let (console, mut guest, _dir) = console();
        for chunk in [&b"[  \x1b[0;3"[..], b"2mO", b"K\x1b", b"[0m  ]\n"] {
            guest.write_all(chunk).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(console.wait_for("]", SOON).unwrap(), "[  OK  ]");
    }

    #[test]
    fn the_log_has_every_byte_and_input_reaches_the_guest() {
        let (console, mut guest, dir) = console();
        guest.write_all(b"\x1b[1ma\n").unwrap();
        console.wait_for("a", SOON).unwrap();
        console.write(b"root\n").unwrap();
        let mut typed = [0; 5];
        guest.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"root\n");
        assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), b"\x1b[1ma\n");
    }

    #[test]
    fn wide_lines_are_cut_to_their_end() {
        assert_eq!(squeeze("  a   b"), "  a   b");
        let long = format!("menu{}entry {}", " ".repeat(300), "x".repeat(230));
        assert_eq!(squeeze(&long), format!("enu entry {}", "x".repeat(230)));
        assert_eq!(squeeze(&"ü".repeat(500)).chars().count(), WIDE);
    }

    #[test]
    fn a_machine_that_goes_off_ends_the_wait() {
        let (console, guest, _dir) = console();
        drop(guest);
        assert!(matches!(console.wait_for("login:", SOON), Err(Error::Off { .. })));
    }
}
