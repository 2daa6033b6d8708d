//! Owns commands on a machine over SSH, each with a limit, none of which Ctrl-C reaches by itself.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use keelson_qemu::ssh::Key;

use super::documents::USER;
use super::folder::Folder;
use super::plan::Machine;
use super::stop::Stop;

/// How often a command's end is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// What ssh itself ends with when there is no connection.
const NO_CONNECTION: i32 = 255;

/// The way into a cluster's machines.
#[derive(Debug, Clone)]
pub struct Remote {
    key: Key,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its exit status; none when the connection was not made, broke, or took too long.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Answer {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }

    /// Why it failed, in its own words: the end of what it said.
    pub fn why(&self) -> String {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(8)..].join("\n");
        match (self.status, last.is_empty()) {
            (_, false) => last,
            (Some(status), true) => format!("exit status {status}"),
            (None, true) => "the connection broke".to_owned(),
        }
    }
}

/// A command under way; dropping it ends the connection.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Remote {
    /// The way into the machines of the cluster in that folder.
    pub fn new(folder: &Folder) -> Result<Self> {
        Ok(Self { key: Key::in_dir(&folder.ssh())? })
    }

    /// The public key that machines are to let in.
    pub fn public(&self) -> &str {
        &self.key.public
    }

    /// A command that logs in to a machine.
    pub fn login(&self, machine: &Machine) -> Result<Command> {
        let port = machine.ssh_port.with_context(|| format!("{} was never on", machine.name))?;
        Ok(self.key.login(USER, port))
    }

    /// Starts a command of the machine's shell.
    pub fn start(&self, machine: &Machine, command: &str) -> Result<Running> {
        let mut ssh = self.login(machine)?;
        for option in ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=6"] {
            ssh.args(["-o", option]);
        }
        let (stdout, stderr) = (temporary()?, temporary()?);
        ssh.arg("--").arg(command).stdin(Stdio::null()).process_group(0);
        ssh.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let child = ssh.spawn().context("cannot run ssh (apt install openssh-client)")?;
        Ok(Running { child, stdout, stderr })
    }

    /// Runs a command of the machine's shell to its end, the limit, or the request to stop.
    pub fn ask(&self, machine: &Machine, command: &str, limit: Duration, stop: &Stop) -> Result<Answer> {
        let mut running = self.start(machine, command)?;
        let begin = Instant::now();
        while begin.elapsed() < limit && !stop.requested() {
            if let Some(answer) = running.ended()? {
                return Ok(answer);
            }
            std::thread::sleep(LOOK);
        }
        stop.check()?;
        running.break_off()
    }
}

impl Running {
    /// What came of it, once it has ended.
    pub fn ended(&mut self) -> Result<Option<Answer>> {
        let Some(status) = self.child.try_wait().context("cannot wait for ssh")? else { return Ok(None) };
        let status = status.code().filter(|&code| code != NO_CONNECTION);
        Ok(Some(Answer { status, stdout: text(&mut self.stdout)?, stderr: text(&mut self.stderr)? }))
    }

    /// Ends the connection; gives what was said until then.
    pub fn break_off(&mut self) -> Result<Answer> {
        // Fails only for one that has ended.
        let _ = self.child.kill();
        self.child.wait().context("cannot wait for ssh")?;
        Ok(Answer { status: None, stdout: text(&mut self.stdout)?, stderr: text(&mut self.stderr)? })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only for one that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn temporary() -> Result<File> {
    tempfile::tempfile().context("cannot make a temporary file")
}

fn text(file: &mut File) -> Result<String> {
    let mut read = || -> io::Result<Vec<u8>> {
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Ok(String::from_utf8_lossy(&read().context("cannot read what ssh said")?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_in_its_own_words() {
        let answer =
            |status, stdout: &str, stderr: &str| Answer { status, stdout: stdout.into(), stderr: stderr.into() };
        assert_eq!(answer(Some(1), "out", "\nkeelctl: no\n").why(), "keelctl: no");
        assert_eq!(answer(Some(1), "out\n", " ").why(), "out");
        assert_eq!(answer(Some(3), "", "").why(), "exit status 3");
        assert_eq!(answer(None, "", "").why(), "the connection broke");
        assert_eq!(answer(Some(1), "", &"line\n".repeat(50)).why().lines().count(), 8);
    }
}
