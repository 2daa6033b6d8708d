//! Owns asking a person. Where standard input or output is no terminal nobody is asked: a script
//! that runs the verb means it.

use std::io::{self, BufRead, IsTerminal, Write};

/// Whether there is a person to ask.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Asks `question`; only an answer that begins with y is a yes.
pub fn ask(question: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    answer.trim_start().starts_with(['y', 'Y'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes(" Yes"));
        assert!(!is_yes("\n") && !is_yes("n") && !is_yes(""));
    }
}
