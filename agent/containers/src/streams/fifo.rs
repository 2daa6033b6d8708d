//! Owns the FIFOs between a shim and this daemon.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::{OpenOptions, Sender};

/// As much as an unprivileged user may have in a pipe; it spares turns when a container talks much.
const CAPACITY: usize = 1 << 20;

/// Where containerd's shim finds the streams of a process; what is not there, the process does not
/// have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fifos {
    /// To read input from.
    pub stdin: Option<PathBuf>,
    /// To write output to; with a terminal, all of it.
    pub stdout: Option<PathBuf>,
    /// To write errors to.
    pub stderr: Option<PathBuf>,
    /// Whether the process has a terminal.
    pub terminal: bool,
}

impl Fifos {
    /// The paths in `dir`, for a process with or without a terminal and input.
    pub fn named(dir: &Path, tty: bool, stdin: bool) -> Self {
        Self {
            stdin: stdin.then(|| dir.join("stdin")),
            stdout: Some(dir.join("stdout")),
            stderr: (!tty).then(|| dir.join("stderr")),
            terminal: tty,
        }
    }

    /// Makes them anew: bytes of a former run cannot come up in this one.
    pub fn make(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        for name in ["stdin", "stdout", "stderr"] {
            match std::fs::remove_file(dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        for path in [&self.stdin, &self.stdout, &self.stderr].into_iter().flatten() {
            rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
        }
        Ok(())
    }
}

impl Fifos {
    /// A path as containerd wants it: empty for none.
    pub fn text(path: Option<&PathBuf>) -> String {
        path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// Opens the reading end, which waits for no writer; `None` when there is no such FIFO.
pub fn open_to_read(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fifo = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        other => other?,
    };
    // Only a wish: with many pipes the kernel may refuse.
    rustix::pipe::fcntl_setpipe_size(&fifo, CAPACITY).ok();
    Ok(Some(fifo))
}

/// Watches `fifo`, which the thread that does so reads by splice(2).
#[expect(deprecated, reason = "what it is deprecated for, descriptors that are closed too early, an OwnedFd cannot be")]
pub fn watch(fifo: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fifo, Interest::READABLE)
}

/// Opens a FIFO for writing, whether the shim has it open yet or not: so it is opened for both.
pub fn open_to_write(path: &Path) -> io::Result<Sender> {
    OpenOptions::new().read_write(true).open_sender(path)
}
