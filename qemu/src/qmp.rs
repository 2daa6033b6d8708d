//! Owns the QEMU Machine Protocol: JSON lines over a Unix socket. It is spoken here directly, since
//! the few commands a machine needs do not warrant the generated types of QEMU's whole schema.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;

/// How long QEMU may take to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// The state of a machine that QEMU stopped because there was no room for what it wrote.
const NO_ROOM: &str = "io-error";
/// How soon one that was told to go on stops again where there still is none.
const AGAIN: Duration = Duration::from_millis(500);

/// Something QEMU reported by itself, `SHUTDOWN` or `RESET` for example.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// What comes with it.
    pub data: Value,
}

/// One QMP connection, past the handshake.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    answers: Receiver<Value>,
    events: Receiver<Event>,
}

impl Qmp {
    /// Takes QEMU's greeting and enters command mode.
    pub fn new(stream: UnixStream) -> Result<Self, Error> {
        let reader = stream.try_clone().map_err(|error| Error::Protocol(error.to_string()))?;
        let (answer, answers) = channel();
        let (event, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let Ok(mut value) = serde_json::from_str::<Value>(&line) else { continue };
                // A receiver that is gone ends nothing: the other one may still be there.
                let _ = match value["event"].as_str().map(str::to_owned) {
                    Some(name) => event.send(Event { name, data: value["data"].take() }).is_ok(),
                    None => answer.send(value).is_ok(),
                };
            }
        });
        let mut qmp = Self { stream, answers, events };
        let greeting = qmp.answer("greeting")?;
        if greeting.get("QMP").is_none() {
            return Err(Error::Protocol(format!("no greeting but {greeting}")));
        }
        qmp.execute("qmp_capabilities", Value::Null)?;
        Ok(qmp)
    }

    /// Runs a command with its arguments (an object, or null for none) and gives what it returns.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        let mut request = json!({ "execute": command });
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        let off = |_| Error::Off { doing: format!("QEMU was to `{command}`") };
        writeln!(self.stream, "{request}").map_err(off)?;
        let mut answer = self.answer(command)?;
        match answer["error"]["desc"].as_str() {
            Some(reason) => Err(Error::Qmp { command: command.into(), reason: reason.into() }),
            None => Ok(answer["return"].take()),
        }
    }

    fn answer(&mut self, command: &str) -> Result<Value, Error> {
        self.answers.recv_timeout(ANSWER).map_err(|error| match error {
            RecvTimeoutError::Disconnected => Error::Off { doing: format!("QEMU was to `{command}`") },
            RecvTimeoutError::Timeout => {
                Error::Timeout { what: format!("answer of QEMU to `{command}`"), limit: ANSWER, output: String::new() }
            }
        })
    }

    /// Waits for an event of that name, passing over others.
    pub fn wait_event(&mut self, name: &str, limit: Duration) -> Result<Event, Error> {
        let start = Instant::now();
        loop {
            match self.events.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(event) if event.name == name => return Ok(event),
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Off { doing: format!("waiting for {name}") }),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Error::Timeout { what: format!("event {name} of QEMU"), limit, output: String::new() });
                }
            }
        }
    }

    /// The state the machine is in, `running` or `shutdown` for example.
    pub fn status(&mut self) -> Result<String, Error> {
        let status = self.execute("query-status", Value::Null)?;
        Ok(status["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether the machine stands still because there is no room for what it writes. QEMU stops it rather than have it
    /// lose that, and never has it go on by itself: it is told to here, and does where there is room by now.
    pub fn lacks_room(&mut self) -> Result<bool, Error> {
        if self.status()? != NO_ROOM {
            return Ok(false);
        }
        self.execute("cont", Value::Null)?;
        std::thread::sleep(AGAIN);
        Ok(self.status()? == NO_ROOM)
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.execute("system_reset", Value::Null).map(drop)
    }

    /// Presses the power button, which a guest takes as a request to power off.
    pub fn press_power(&mut self) -> Result<(), Error> {
        self.execute("system_powerdown", Value::Null).map(drop)
    }

    /// Ends QEMU at once.
    pub fn quit(&mut self) -> Result<(), Error> {
        self.execute("quit", Value::Null).map(drop)
    }

    /// Runs a command of the human monitor, for what QMP itself does not tell.
    pub fn monitor(&mut self, line: &str) -> Result<String, Error> {
        let text = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        // The reading thread has the connection too, and QEMU serves one at a time. It fails where QEMU has closed it.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A QEMU that says its lines in order, one for each request after the greeting.
    fn qemu(lines: &'static [&'static str]) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut requests = BufReader::new(theirs.try_clone().unwrap()).lines();
            let mut theirs = theirs;
            writeln!(theirs, r#"{{"QMP": {{"version": {{}}, "capabilities": []}}}}"#).unwrap();
            for line in lines {
                requests.next();
                writeln!(theirs, "{line}").unwrap();
            }
        });
        ours
    }

    #[test]
    fn answers_and_events_do_not_mix() {
        let stream = qemu(&[
            r#"{"return": {}}"#,
            "{\"event\": \"RESET\", \"data\": {\"guest\": true}}\n{\"return\": {\"status\": \"running\"}}",
            r#"{"error": {"class": "GenericError", "desc": "no such command"}}"#,
        ]);
        let mut qmp = Qmp::new(stream).unwrap();
        assert_eq!(qmp.status().unwrap(), "running");
        assert_eq!(qmp.wait_event("RESET", Duration::from_secs(5)).unwrap().data["guest"], true);
        let error = qmp.execute("fly", Value::Null).unwrap_err();
        assert_eq!(error.to_string(), "QEMU refused `fly`: no such command");
    }

    #[test]
    fn a_machine_without_room_is_told_to_go_on() {
        const DONE: &str = r#"{"return": {}}"#;
        const FULL: &str = r#"{"return": {"status": "io-error"}}"#;
        const GOES: &str = r#"{"return": {"status": "running"}}"#;
        let lacks_room = |lines| Qmp::new(qemu(lines)).unwrap().lacks_room().unwrap();
        assert!(!lacks_room(&[DONE, GOES]));
        assert!(!lacks_room(&[DONE, FULL, DONE, GOES]));
        assert!(lacks_room(&[DONE, FULL, DONE, FULL]));
    }

    #[test]
    fn a_connection_ends_with_its_value() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
        (&theirs).write_all(b"{\"QMP\": {}}\n{\"return\": {}}\n").unwrap();
        drop(Qmp::new(ours).unwrap());
        assert!(lines.next().unwrap().unwrap().contains("qmp_capabilities") && lines.next().is_none());
    }

    #[test]
    fn a_qemu_that_ends_is_told_apart() {
        let mut qmp = Qmp::new(qemu(&[r#"{"return": {}}"#])).unwrap();
        assert!(matches!(qmp.reset(), Err(Error::Off { .. })));
    }
}
