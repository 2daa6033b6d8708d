//! Owns [`Terminal`]: a program on a pseudo terminal, as a person has it before them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// How long anything may take to be seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program on a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    control: File,
    terminal: OwnedFd,
    program: Child,
    output: Receiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl Terminal {
    /// Starts `program` with its three streams on a terminal of this size.
    pub fn start(mut program: Command, rows: u16, columns: u16) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let control = openpt(flags).context("no pseudo terminal")?;
        grantpt(&control)?;
        unlockpt(&control)?;
        let terminal = ioctl_tiocgptpeer(&control, flags)?;
        tcsetwinsize(&control, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        program.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal.try_clone()?);
        let program = program.spawn().context("cannot start a program on a terminal")?;
        let control = File::from(control);
        let output = follow(control.try_clone()?);
        Ok(Self { control, terminal, program, output, unread: Vec::new() })
    }

    /// Types `text`.
    pub fn send(&mut self, text: &[u8]) -> Result<()> {
        Ok(self.control.write_all(text)?)
    }

    /// Waits until `text` was printed, after all that was waited for before; gives what was printed.
    pub fn expect(&mut self, text: &str) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.unread.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let seen: Vec<u8> = self.unread.drain(..at + text.len()).collect();
                return Ok(String::from_utf8_lossy(&seen).into_owned());
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(more) => self.unread.extend(more),
                Err(_) => bail!("no {text:?} in what was printed: {:?}", String::from_utf8_lossy(&self.unread)),
            }
        }
    }

    /// Gives the terminal another size, and has the program know.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        tcsetwinsize(&self.control, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        self.signal(Signal::WINCH)
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.program.id())?).context("the program has no pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Whether what is typed goes to the program byte by byte.
    pub fn is_raw(&self) -> Result<bool> {
        Ok(!tcgetattr(&self.terminal)?.local_modes.contains(LocalModes::ICANON))
    }

    /// Waits until the program has ended.
    pub fn end(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.program.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("it does not end; it printed {:?}", String::from_utf8_lossy(&self.unread));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Reads all that is printed, so that the program never waits for a reader.
fn follow(mut control: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = control.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
