//! Owns processes that must not outlive us: they are started by one thread that lives as long as
//! this process, because the kernel ties PR_SET_PDEATHSIG to the *thread* that forked.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

type Request = (Command, Sender<io::Result<Child>>);

static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();

/// How often the end of a process is looked for.
const POLL: Duration = Duration::from_millis(20);

/// A child that is killed, by its own process id, when this value or this process goes away.
#[derive(Debug)]
pub struct Tied(Child);

/// A command for [`spawn`]: in a process group of its own, so that the terminal's signals pass it
/// by, under `setpriv`, which has the kernel kill it when we end and then becomes the program.
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]).process_group(0);
    command
}

/// Starts what [`command`] made.
pub fn spawn(command: Command) -> io::Result<Tied> {
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (send, receive) = channel();
    SPAWNER.get_or_init(spawner).send((command, send)).map_err(|_| gone())?;
    receive.recv().map_err(|_| gone())?.map(Tied)
}

fn spawner() -> Sender<Request> {
    let (send, receive) = channel::<Request>();
    std::thread::spawn(move || {
        for (mut command, answer) in receive {
            // A requester that went away takes its child with it.
            if let Err(unheard) = answer.send(command.spawn()) {
                drop(unheard.0.map(Tied));
            }
        }
    });
    send
}

impl Tied {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Its standard output, when it was piped and not yet taken.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// How it ended, if it did.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Waits for its end; `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            match self.0.try_wait()? {
                None if start.elapsed() < limit => std::thread::sleep(POLL),
                result => return Ok(result),
            }
        }
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        // Fails only for a child that was waited for, or cannot be reaped twice: nothing is left to do.
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_dropped_child_is_gone() {
        let mut sleep = command("sleep");
        sleep.arg("60");
        let child = spawn(sleep).unwrap();
        let proc = format!("/proc/{}", child.id());
        assert!(Path::new(&proc).exists());
        drop(child);
        assert!(!Path::new(&proc).exists());
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let asker = std::thread::spawn(|| {
            let mut sleep = command("sleep");
            sleep.arg("60");
            spawn(sleep).unwrap()
        });
        let mut child = asker.join().unwrap();
        assert!(child.wait(Duration::from_millis(200)).unwrap().is_none());
    }

    #[test]
    fn the_end_of_a_child_is_seen() {
        let mut shell = command("sh");
        shell.args(["-c", "exit 3"]);
        let status = spawn(shell).unwrap().wait(Duration::from_secs(10)).unwrap().unwrap();
        assert_eq!(status.code(), Some(3));
    }
}
