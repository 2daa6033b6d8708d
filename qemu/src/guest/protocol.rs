//! Owns the text of the command channel, as pure functions; `agent.sh` beside this file is the
//! other end and describes it.

use std::fmt::Write as _;

/// What the guest says on the control port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// It is ready for commands, in the boot of that id.
    Hello(String),
    /// The command of that id ended with that status.
    Exit(String, i32),
}

/// Reads one line of the guest; `None` for anything else.
pub(super) fn parse(line: &str) -> Option<Message> {
    let mut words = line.split_whitespace();
    let message = match (words.next()?, words.next()?, words.next()) {
        ("hello", boot, None) => Message::Hello(boot.to_owned()),
        ("exit", id, Some(status)) => Message::Exit(id.to_owned(), status.parse().ok()?),
        _ => return None,
    };
    words.next().is_none().then_some(message)
}

/// The line that has the guest run `command` by its shell.
pub(super) fn run(id: &str, mark: &str, command: &str) -> String {
    let mut line = format!("run {id} {mark} ");
    for byte in command.bytes() {
        // Writing to a string cannot fail.
        let _ = match byte {
            b'!'..=b'[' | b']'..=b'~' => line.write_char(char::from(byte)),
            _ => write!(line, "\\0{byte:03o}"),
        };
    }
    line.push('\n');
    line
}

/// The line that has the guest kill that command.
pub(super) fn kill(id: &str) -> String {
    format!("kill {id}\n")
}

/// The line that has the guest stop listening to what that command left running.
pub(super) fn drop(id: &str) -> String {
    format!("drop {id}\n")
}

/// Takes a command's output out of a stream that ends with a mark, however it is cut up.
#[derive(Debug)]
pub(super) struct Until {
    mark: Vec<u8>,
    /// Bytes that may be the mark's beginning.
    held: Vec<u8>,
    done: bool,
}

impl Until {
    pub(super) fn new(mark: &str) -> Self {
        Self { mark: mark.as_bytes().to_vec(), held: Vec::new(), done: false }
    }

    /// Whether the mark was seen.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The output that `chunk` completes. Nothing is left over but what may begin the mark.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        if self.done {
            return Vec::new();
        }
        self.held.extend_from_slice(chunk);
        let found = self.held.windows(self.mark.len()).position(|window| window == self.mark);
        self.done = found.is_some();
        let sure = found.unwrap_or_else(|| self.held.len() - self.begun());
        let rest = self.held.split_off(sure);
        std::mem::replace(&mut self.held, rest)
    }

    /// How many of the last bytes held are a beginning of the mark.
    fn begun(&self) -> usize {
        let longest = self.held.len().min(self.mark.len() - 1);
        (0..=longest).rev().find(|&len| self.held.ends_with(&self.mark[..len])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_strictly() {
        assert_eq!(parse("hello b00t\n"), Some(Message::Hello("b00t".into())));
        assert_eq!(parse("exit 7f 130"), Some(Message::Exit("7f".into(), 130)));
        for bad in ["", "hello", "hello a b", "exit 7f", "exit 7f x", "exit 7f 1 2", "run 1 2"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn commands_may_hold_anything() {
        let command = "echo 'a  b\\n' \"$x\"\nexit 3 # ü";
        let line = run("1", "m", command);
        let escaped = line.strip_prefix("run 1 m ").unwrap().strip_suffix('\n').unwrap();
        assert!(escaped.bytes().all(|byte| byte.is_ascii_graphic()), "{escaped}");
        // Read and undone by a shell, as the guest does it.
        let undo = "read -r verb id mark data && printf %b \"$data\"";
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\n' \"$1\" | {{ {undo}; }}"), "sh", line.trim_end()])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), command);
    }

    #[test]
    fn the_mark_is_found_however_the_stream_is_cut() {
        let stream = b"aab<<EN<<END>tail";
        for first in 0..stream.len() {
            for second in first..stream.len() {
                let mut until = Until::new("<<END>");
                let mut output = Vec::new();
                for chunk in [&stream[..first], &stream[first..second], &stream[second..]] {
                    output.extend(until.feed(chunk));
                }
                assert!(until.is_done());
                assert_eq!(output, b"aab<<EN", "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn output_is_held_back_only_where_the_mark_may_begin() {
        let mut until = Until::new("<END>");
        assert_eq!(until.feed(b"progress 50%\r"), b"progress 50%\r");
        assert_eq!(until.feed(b"a<E"), b"a");
        assert_eq!(until.feed(b"X"), b"<EX");
        assert!(!until.is_done());
    }
}
