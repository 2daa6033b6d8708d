//! Owns the terminal while it is a guest's serial console: raw mode, and the keys that leave it.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use keelson_qemu::console::Console;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Ctrl-A.
const ESCAPE: u8 = 1;

/// A terminal joined to a console; dropping it gives the terminal back.
pub(super) struct Attached {
    before: Option<Termios>,
    left: Arc<AtomicBool>,
}

impl Attached {
    /// Shows the last lines the console printed, and what it prints from here on. With `terminal`, standard input is
    /// typed at it, in raw mode.
    pub(super) fn new(console: &Console, terminal: bool) -> Result<Self> {
        let left = Arc::new(AtomicBool::new(false));
        show(console.tail().replace('\n', "\r\n").as_bytes());
        let hidden = left.clone();
        console.tap(Box::new(move |bytes| !hidden.load(Ordering::SeqCst) && show(bytes)));
        let mut before = None;
        if terminal {
            let normal = tcgetattr(std::io::stdin()).context("cannot read the terminal's settings")?;
            let mut raw = normal.clone();
            raw.make_raw();
            tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).context("cannot set the terminal")?;
            before = Some(normal);
            let (console, left) = (console.clone(), left.clone());
            thread::spawn(move || type_at(&console, &left));
        }
        Ok(Self { before, left })
    }

    /// Whether the person asked to leave.
    pub(super) fn left(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.left.store(true, Ordering::SeqCst);
        if let Some(before) = &self.before {
            // Nothing is left to do about a terminal that has gone.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
            show(b"\r\n");
        }
    }
}

fn show(bytes: &[u8]) -> bool {
    let mut stdout = std::io::stdout();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).is_ok()
}

fn type_at(console: &Console, left: &AtomicBool) {
    let (mut keys, mut buffer) = (Keys::default(), [0; 256]);
    while let Ok(count @ 1..) = std::io::stdin().read(&mut buffer) {
        let (typed, leave) = keys.press(&buffer[..count]);
        // A machine that is just going off takes no keys.
        let _ = console.write(&typed);
        if leave {
            left.store(true, Ordering::SeqCst);
            return;
        }
    }
}

/// Tells keys for the guest from those for us, as QEMU's own console does.
#[derive(Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    /// What goes to the guest, and whether the person leaves.
    fn press(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut typed = Vec::new();
        for &byte in bytes {
            match (std::mem::take(&mut self.escaped), byte) {
                (false, ESCAPE) => self.escaped = true,
                (true, b'x' | b'X') => return (typed, true),
                (true, ESCAPE | b'a' | b'A') => typed.push(ESCAPE),
                (true, other) => typed.extend([ESCAPE, other]),
                (false, other) => typed.push(other),
            }
        }
        (typed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_x_leaves_even_in_two_reads() {
        let mut keys = Keys::default();
        assert_eq!(keys.press(b"ls\r\x01"), (b"ls\r".to_vec(), false));
        assert_eq!(keys.press(b"xq"), (vec![], true));
    }

    #[test]
    fn ctrl_a_twice_sends_one() {
        let mut keys = Keys::default();
        assert_eq!(keys.press(b"\x01\x01x\x01ax\x01kx"), (b"\x01x\x01x\x01kx".to_vec(), false));
    }
}
