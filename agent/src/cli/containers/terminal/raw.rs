//! Owns raw mode: what is typed goes to the container as it is, and the terminal is put back however
//! keelctl ends, short of SIGKILL.

use std::io::{self, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Standard input in another mode than it was found in, until dropped.
#[derive(Debug)]
pub struct Mode(Termios);

impl Mode {
    /// Raw mode; none where standard input is no terminal. What was typed while the container was being
    /// made is for it, and stays.
    pub fn raw() -> io::Result<Option<Self>> {
        Self::change(Termios::make_raw, OptionalActions::Now)
    }

    /// What is typed is not shown; none where standard input is no terminal.
    pub fn silent() -> io::Result<Option<Self>> {
        Self::change(|mode| mode.local_modes.remove(LocalModes::ECHO), OptionalActions::Flush)
    }

    fn change(change: impl FnOnce(&mut Termios), when: OptionalActions) -> io::Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut mode = before.clone();
        change(&mut mode);
        tcsetattr(&stdin, when, &mode)?;
        Ok(Some(Self(before)))
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
