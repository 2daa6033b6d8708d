//! What goes in and out of containers: FIFOs to their shims, logs, attached terminals.
//!
//! ```text
//! container --pipe--> shim --FIFO--> pump --splice--> log files --> followers: attach, logs -f
//!                                                         '-------> logs
//! client --> stdin FIFO --> shim --> container
//! ```
//!
//! A start of a container calls [`Streams::open`] and [`Streams::pump`] before the task is made, its
//! end [`Streams::finish`], a start of this daemon [`Streams::pump`] for each container that runs or
//! that ended unseen.

mod back;
pub mod detach;
mod fifo;
mod follow;
pub mod frame;
mod input;
mod limits;
pub mod lines;
pub mod logs;
mod pump;
mod reader;
pub mod record;
mod segment;
pub mod session;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::models::HostConfigLogConfig;

use super::error::{Error, Result};
use super::paths::Paths;

pub use fifo::Fifos;
pub use follow::Follower;
pub use input::Input;
pub use limits::Driver;

use pump::{Channel, Pumps};
use reader::{Reader, Start};
use writer::Writer;

/// The streams of this host's containers.
#[derive(Debug)]
pub struct Streams {
    paths: Paths,
    pumps: Pumps,
    channels: Mutex<HashMap<String, Arc<Channel>>>,
}

impl Streams {
    /// Streams whose FIFOs and logs lie where `paths` say.
    pub fn new(paths: Paths) -> Result<Self> {
        let pumps = Pumps::start().map_err(|error| Error::failed("start the thread that writes logs", error))?;
        Ok(Self { paths, pumps, channels: Mutex::default() })
    }

    /// Makes the FIFOs of container `id`, or of a further `process` in it, for the task that is about
    /// to be made.
    pub fn open(&self, id: &str, process: Option<&str>, tty: bool, stdin: bool) -> Result<Fifos> {
        let dir = self.fifos(id, process);
        let fifos = Fifos::named(&dir, tty, stdin);
        fifos.make(&dir).map_err(|error| Error::failed(format!("make FIFOs in {}", dir.display()), error))?;
        Ok(fifos)
    }

    /// Begins, or goes on, to write the log of container `id`; when it does already, nothing.
    pub fn pump(&self, id: &str, config: Option<&HostConfigLogConfig>) -> Result<()> {
        let channel = self.channel(id);
        if channel.progress.borrow().open {
            return Ok(());
        }
        let driver = self.driver(config)?;
        let work = || -> io::Result<()> {
            let dir = self.fifos(id, None);
            let mut fifos = [None, None];
            for (slot, stream) in fifos.iter_mut().zip(record::Stream::ALL) {
                *slot = fifo::open_to_read(&dir.join(stream.name()))?;
            }
            if driver == Driver::None {
                std::fs::create_dir_all(self.unkept(id))?;
            }
            let writer = Writer::open(self.log(id), driver.limits())?;
            self.pumps.add(writer, fifos, channel.clone())
        };
        work().map_err(|error| Error::failed(format!("write the log of container {id}"), error))
    }

    /// What `config` asks for; wrong options are refused when a container is made.
    pub fn driver(&self, config: Option<&HostConfigLogConfig>) -> Result<Driver> {
        let space = rustix::fs::statvfs(self.paths.root()).map_or(0, |fs| fs.f_blocks * fs.f_frsize);
        Driver::of(config, space)
    }

    /// Waits, after the end of container `id`, until all its output is in the log; who follows it
    /// comes to the end.
    pub async fn finish(&self, id: &str) {
        let channel = self.lock().get(id).cloned();
        if let Some(channel) = channel {
            channel.finish().await;
        }
    }

    /// Forgets container `id`; its folders are removed with it.
    pub fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// What container `id` gives from now on, or with `history` from its beginning, to the end of the
    /// run that is or the next one.
    pub fn follow(&self, id: &str, history: bool) -> Result<Follower> {
        let channel = self.channel(id);
        let dir = self.log(id);
        let progress = *channel.progress.borrow();
        let start = match history {
            true => Start::default(),
            false if progress.open => Start::at(progress.position),
            false => Start::at(segment::end(&dir).map_err(|error| self.unreadable(id, error))?),
        };
        Ok(Follower::new(Reader::new(dir, start), &channel))
    }

    /// What `query` asks for of the log of container `id`.
    pub fn logs(&self, id: &str, query: logs::Query) -> logs::Chunks {
        let channel = query.follow.then(|| self.channel(id)).filter(|channel| channel.progress.borrow().open);
        logs::read(&self.log(id), query, channel.as_deref())
    }

    /// The input of container `id`, as soon as it is about to start, or of a further `process` in it.
    pub fn input(&self, id: &str, process: Option<&str>) -> Input {
        let progress = process.is_none().then(|| self.channel(id).progress.subscribe());
        Input::new(self.fifos(id, process).join("stdin"), progress)
    }

    fn unreadable(&self, id: &str, error: io::Error) -> Error {
        Error::failed(format!("read the log of container {id}"), error)
    }

    fn channel(&self, id: &str) -> Arc<Channel> {
        self.lock().entry(id.to_owned()).or_default().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fifos(&self, id: &str, process: Option<&str>) -> PathBuf {
        let dir = self.paths.runtime(id);
        match process {
            Some(process) => dir.join("exec").join(process),
            None => dir,
        }
    }

    /// Where the log is: in memory when it is not to be kept.
    fn log(&self, id: &str) -> PathBuf {
        let unkept = self.unkept(id);
        match Path::is_dir(&unkept) {
            true => unkept,
            false => self.paths.container(id).join("log"),
        }
    }

    fn unkept(&self, id: &str) -> PathBuf {
        self.paths.runtime(id).join("log")
    }
}
