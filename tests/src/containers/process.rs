//! Owns the servers tests start: each has a session of its own and a log, and ends by its pid.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keelson_common::command::{line, tail};
use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// A running server; it is killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output added to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot run {}", line(command)))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until `ready`; fails with the end of the log when that takes too long or the server ends.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let mut ended = None;
        let child = &mut self.child;
        let ok = eventually(limit, || {
            ended = child.try_wait().ok().flatten();
            ended.is_some() || ready()
        });
        match ended {
            Some(status) => bail!("the server ended ({status})\n{}", self.log_tail()),
            None if !ok => bail!("the server is not ready after {limit:?}\n{}", self.log_tail()),
            None => Ok(()),
        }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, by itself or not.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what it printed.
    pub fn log_tail(&self) -> String {
        tail(&fs::read(&self.log).unwrap_or_default())
    }

    /// Kills it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end and waits for that; a server that does not listen is killed and reported.
    pub fn end(&mut self, limit: Duration) -> Result<()> {
        kill_process(self.id()?, Signal::TERM).ok();
        let child = &mut self.child;
        if eventually(limit, || !matches!(child.try_wait(), Ok(None))) {
            return Ok(());
        }
        self.kill()?;
        bail!("the server did not end within {limit:?}\n{}", self.log_tail())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.id()?, signal)?)
    }

    /// A figure of `/proc/PID/smaps_rollup` in kB: `Rss`, `Pss`, `Pss_Anon`, ...
    pub fn memory(&self, figure: &str) -> Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()))?;
        let figure = format!("{figure}:");
        let found = rollup.lines().find_map(|line| line.strip_prefix(&figure)?.split_whitespace().next()?.parse().ok());
        found.with_context(|| format!("no {figure} in {rollup}"))
    }

    /// How many threads it has.
    pub fn threads(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.pid()))?.count())
    }

    fn id(&self) -> Result<Pid> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        ensure!(pid.is_some(), "{} is no pid", self.pid());
        pid.context("no pid")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
