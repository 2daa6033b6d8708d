//! Owns the channel that runs commands as root in a guest: any image with systemd 256 or newer will
//! do, it needs neither SSH nor a network nor anything of ours installed.
//!
//! Two credentials bring a unit and a want for it, a third the shell script it runs; the script
//! talks over virtio-serial ports (see `agent.sh`). A restart of the guest starts it anew, and the
//! host tells one boot from the next by the boot id that the script says first.

mod protocol;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::credential::Credential;
use crate::error::Error;
use protocol::{Message, Until};

/// The script, at the guest's end.
const AGENT: &str = include_str!("agent.sh");

/// Runs the script where PID 1 leaves system credentials; not in the initramfs. A command that the
/// kernel kills for want of memory must not end the channel: it ends with 137, as any other that is killed.
const UNIT: &str = "\
[Unit]
Description=Keelson's command channel for the build machine
ConditionPathExists=!/etc/initrd-release
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh /run/credentials/@system/keelson.guest-agent
Restart=always
RestartSec=1
IgnoreSIGPIPE=no
OOMPolicy=continue
";

/// How long a command that ran out of time may take to die.
const DYING: Duration = Duration::from_secs(15);
/// How long what a command left running may keep its output open.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes of output that an error shows.
const SHOWN: usize = 2048;

/// The credentials that bring the channel into a guest.
pub fn credentials() -> [Credential; 3] {
    [
        Credential::new("keelson.guest-agent", AGENT),
        Credential::unit("keelson-guest.service", UNIT),
        Credential::drop_in("multi-user.target", "keelson", "[Unit]\nWants=keelson-guest.service\n"),
    ]
}

/// One of a command's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a command in the guest ended, and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 and the signal's number when a signal ended it, as a shell has it.
    pub status: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, without the line end that closes it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    /// Standard error as text.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Whether the status is 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

enum Event {
    Message(Message),
    Printed(Stream, Vec<u8>),
    Closed,
}

/// The host's end of the channel.
#[derive(Debug)]
pub struct Guest {
    control: UnixStream,
    events: Receiver<Event>,
    /// The boot id of the guest that said hello last, unless it has stopped listening.
    boot: Option<String>,
}

impl Guest {
    /// Listens on the three ports' sockets.
    pub fn new(control: UnixStream, stdout: UnixStream, stderr: UnixStream) -> std::io::Result<Self> {
        let (send, events) = channel();
        let lines = control.try_clone()?;
        listen(lines, send.clone());
        forward(Stream::Out, stdout, send.clone());
        forward(Stream::Err, stderr, send);
        Ok(Self { control, events, boot: None })
    }

    /// The boot id of the guest that is ready, if one is.
    pub fn boot(&self) -> Option<&str> {
        self.boot.as_deref()
    }

    /// Waits at most `limit` for the guest to be ready, in another boot than `not` if given.
    /// Gives whether it is; an error when the machine went off.
    pub fn wait_ready(&mut self, not: Option<&str>, limit: Duration) -> Result<bool, Error> {
        let start = Instant::now();
        loop {
            if self.boot.is_some() && self.boot.as_deref() != not {
                return Ok(true);
            }
            match self.events.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(Event::Message(Message::Hello(boot))) => self.boot = Some(boot),
                Ok(Event::Message(Message::Exit(..)) | Event::Printed(..)) => {}
                Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Off { doing: "the guest was waited for".into() });
                }
                Err(RecvTimeoutError::Timeout) => return Ok(false),
            }
        }
    }

    /// Runs `command` by the guest's `sh` and gives `sink` its output as it comes; returns the
    /// status. What the command leaves running in the background loses its output two seconds later.
    pub fn run(&mut self, command: &str, limit: Duration, sink: &mut dyn FnMut(Stream, &[u8])) -> Result<i32, Error> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mark = format!("<keelson:{}>", uuid::Uuid::new_v4().simple());
        self.say(&protocol::run(&id, &mark, command))?;
        let mut running = Running::new(id, &mark, sink);
        if let Some(status) = self.follow(&mut running, command, limit)? {
            return Ok(status);
        }
        let what = format!("end of `{command}`");
        self.say(&protocol::kill(&running.id))?;
        let died = self.follow(&mut running, command, DYING)?.is_some();
        if !died {
            self.boot = None;
        }
        Err(Error::Timeout { what, limit, output: String::from_utf8_lossy(&running.shown).into_owned() })
    }

    fn say(&mut self, line: &str) -> Result<(), Error> {
        self.control.write_all(line.as_bytes()).map_err(|_| {
            self.boot = None;
            Error::Off { doing: "the guest was to take a command".into() }
        })
    }

    /// Follows a command to its end, `None` when it has not come after `limit`.
    fn follow(&mut self, running: &mut Running<'_>, command: &str, limit: Duration) -> Result<Option<i32>, Error> {
        let start = Instant::now();
        loop {
            if let Some(status) = running.ended() {
                return Ok(Some(status));
            }
            let left = limit.saturating_sub(start.elapsed());
            let patience = if running.lingers() { left.min(GRACE) } else { left };
            match self.events.recv_timeout(patience) {
                Ok(Event::Message(Message::Hello(boot))) => {
                    let same = self.boot.replace(boot.clone()).is_some_and(|known| known == boot);
                    let (command, console) = (command.to_owned(), String::new());
                    return Err(match same {
                        true => Error::ChannelRestarted { command, console },
                        false => Error::Restarted { command, console },
                    });
                }
                Ok(event) => running.take(event),
                Err(RecvTimeoutError::Timeout) if running.lingers() && !left.is_zero() => {
                    running.dropped = true;
                    self.say(&protocol::drop(&running.id))?;
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => running.off = true,
            }
            if running.off {
                self.boot = None;
                return Err(Error::Off { doing: format!("`{command}` ran in the guest") });
            }
        }
    }
}

/// A command on its way.
struct Running<'a> {
    id: String,
    status: Option<i32>,
    out: Until,
    err: Until,
    sink: &'a mut dyn FnMut(Stream, &[u8]),
    /// The last bytes printed.
    shown: Vec<u8>,
    /// The guest was told to stop listening to its output.
    dropped: bool,
    off: bool,
}

impl<'a> Running<'a> {
    fn new(id: String, mark: &str, sink: &'a mut dyn FnMut(Stream, &[u8])) -> Self {
        let (out, err) = (Until::new(mark), Until::new(mark));
        Self { id, status: None, out, err, sink, shown: Vec::new(), dropped: false, off: false }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Message(Message::Exit(id, status)) if id == self.id => self.status = Some(status),
            Event::Message(_) => {}
            Event::Printed(stream, chunk) => {
                let until = if stream == Stream::Out { &mut self.out } else { &mut self.err };
                let output = until.feed(&chunk);
                if !output.is_empty() {
                    (self.sink)(stream, &output);
                    self.shown.extend(output);
                    self.shown.drain(..self.shown.len().saturating_sub(SHOWN));
                }
            }
            Event::Closed => self.off = true,
        }
    }

    /// Whether it has ended and its output has not, and nothing was done about that yet.
    fn lingers(&self) -> bool {
        self.status.is_some() && self.ended().is_none() && !self.dropped
    }

    fn ended(&self) -> Option<i32> {
        self.status.filter(|_| self.out.is_done() && self.err.is_done())
    }
}

fn listen(control: UnixStream, send: Sender<Event>) {
    std::thread::spawn(move || {
        for line in BufReader::new(control).lines().map_while(Result::ok) {
            if let Some(message) = protocol::parse(&line) {
                if send.send(Event::Message(message)).is_err() {
                    return;
                }
            } else {
                tracing::debug!(line, "the guest said something else");
            }
        }
        // Nobody is left to tell when this fails.
        let _ = send.send(Event::Closed);
    });
}

fn forward(stream: Stream, mut port: UnixStream, send: Sender<Event>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = port.read(&mut buffer) {
            if send.send(Event::Printed(stream, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests;
