//! Owns how child processes are run: every failure carries the command line and a bounded tail of
//! what it printed.

use std::io;
use std::process::{Command, ExitStatus, Output, Stdio};

/// Bytes of a failed command's output kept in its error.
const TAIL: usize = 4096;

/// A command that could not be started, or that ended with a status other than 0.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The program could not be started at all.
    #[error("cannot run `{command}`{}", remedy(.source))]
    Spawn {
        /// The command line.
        command: String,
        /// Why the kernel refused.
        source: io::Error,
    },
    /// The program ran and failed.
    #[error("`{command}` failed ({status}){}", indent(.tail))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error (or output, where the former is empty).
        tail: String,
    },
    /// The program printed something that is not UTF-8.
    #[error("`{command}` printed bytes that are not UTF-8")]
    NotUtf8 {
        /// The command line.
        command: String,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => ": it is not installed",
        _ => "",
    }
}

fn indent(tail: &str) -> String {
    tail.trim_end().lines().map(|line| format!("\n  | {line}")).collect()
}

/// Ways to run a [`Command`] whose failure says what was run and what it printed.
pub trait CommandExt {
    /// Runs to the end with standard input closed and output captured; fails on a non-zero status.
    fn capture(&mut self) -> Result<Output, CommandError>;
    /// As [`CommandExt::capture`], discarding what was printed.
    fn run(&mut self) -> Result<(), CommandError>;
    /// As [`CommandExt::capture`], giving standard output as text.
    fn output_text(&mut self) -> Result<String, CommandError>;
}

impl CommandExt for Command {
    fn capture(&mut self) -> Result<Output, CommandError> {
        self.stdin(Stdio::null());
        let output = self.output().map_err(|source| CommandError::Spawn { command: line(self), source })?;
        if output.status.success() {
            return Ok(output);
        }
        let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        Err(CommandError::Failed { command: line(self), status: output.status, tail: tail(text) })
    }

    fn run(&mut self) -> Result<(), CommandError> {
        self.capture().map(drop)
    }

    fn output_text(&mut self) -> Result<String, CommandError> {
        let output = self.capture()?;
        String::from_utf8(output.stdout).map_err(|_| CommandError::NotUtf8 { command: line(self) })
    }
}

/// The command as a person would type it.
pub fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| quote(&arg.to_string_lossy())));
    words.join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+.,:/@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The last lines of `bytes`, at most [`TAIL`] bytes of them.
pub fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(TAIL);
    let text = String::from_utf8_lossy(&bytes[start..]).into_owned();
    match (start, text.find('\n')) {
        (1.., Some(end)) => text[end + 1..].to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_command_and_output() {
        let error = Command::new("sh").args(["-c", "echo why >&2; exit 3"]).run().unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'echo why >&2; exit 3'` failed (exit status: 3)\n  | why");
    }

    #[test]
    fn missing_program_says_so() {
        let error = Command::new("no-such-program").run().unwrap_err();
        assert_eq!(error.to_string(), "cannot run `no-such-program`: it is not installed");
    }

    #[test]
    fn tail_is_bounded_and_starts_at_a_line() {
        let long = "x".repeat(5000) + "\nlast";
        assert_eq!(tail(long.as_bytes()), "last");
    }
}
