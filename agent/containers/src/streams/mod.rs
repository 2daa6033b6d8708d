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
mod folder;
mod follow;
pub mod frame;
mod input;
mod keep;
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
use std::path::PathBuf;
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

/// The folder, below both roots, of logs that are read and have no container any more.
const ASIDE: &str = "gone";

/// The streams of this host's containers.
#[derive(Debug)]
pub struct Streams {
    paths: Paths,
    pumps: Pumps,
    waiting: Vec<String>,
    channels: Mutex<HashMap<String, Arc<Channel>>>,
}

impl Streams {
    /// Streams whose FIFOs and logs lie where `paths` say; those of the containers `kept` are held by the
    /// service manager.
    pub fn new(paths: Paths, kept: Vec<String>) -> Result<Self> {
        // What a daemon before this one moved aside, for readers that are gone.
        for folder in [paths.root(), paths.run()] {
            std::fs::remove_dir_all(folder.join(ASIDE)).ok();
        }
        let (waiting, ownerless): (Vec<_>, Vec<_>) = kept.into_iter().partition(|id| paths.container(id).exists());
        ownerless.iter().for_each(|id| keep::forget(id));
        let pumps = Pumps::start().map_err(|error| Error::failed("start the thread that writes logs", error))?;
        Ok(Self { paths, pumps, waiting, channels: Mutex::default() })
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
            keep::keep(id, &fifos);
            let log = match driver {
                Driver::Kept(_) => self.kept(id),
                Driver::None => self.fifos(id, None).join("log"),
            };
            channel.folder.set(log.clone());
            let writer = Writer::open(log, driver.limits())?;
            self.pumps.add(writer, fifos, channel.clone())
        };
        work().map_err(|error| Error::failed(format!("write the log of container {id}"), error))
    }

    /// The containers whose output a daemon before this one may not have read to its end.
    pub fn waiting(&self) -> &[String] {
        &self.waiting
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
            keep::forget(id);
        }
    }

    /// Forgets container `id`, whose folders are about to be removed: what is still being read of its
    /// log is moved out of them.
    pub fn remove(&self, id: &str) {
        keep::forget(id);
        let Some(channel) = self.lock().remove(id) else { return };
        if Arc::strong_count(&channel.folder) == 1 {
            return;
        }
        let root = match channel.folder.with(|path| path.starts_with(self.paths.root())) {
            true => self.paths.root(),
            false => self.paths.run(),
        };
        if let Err(error) = channel.folder.doom(&root.join(ASIDE).join(id)) {
            tracing::warn!(id, %error, "cannot keep the log for those who still read it");
        }
    }

    /// What container `id` gives from now on, or with `history` from its beginning, to the end of the
    /// run that is or the next one.
    pub fn follow(&self, id: &str, history: bool) -> Result<Follower> {
        let channel = self.channel(id);
        let progress = *channel.progress.borrow();
        let start = match history {
            true => Start::default(),
            false if progress.open => Start::at(progress.position),
            false => Start::at(channel.folder.with(segment::end).map_err(|error| self.unreadable(id, error))?),
        };
        Ok(Follower::new(Reader::new(channel.folder.clone(), start), &channel))
    }

    /// What `query` asks for of the log of container `id`.
    pub fn logs(&self, id: &str, query: logs::Query) -> logs::Chunks {
        let channel = self.channel(id);
        let follow = query.follow && channel.progress.borrow().open;
        logs::read(channel.folder.clone(), query, follow.then_some(&*channel))
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
        self.lock().entry(id.to_owned()).or_insert_with(|| Arc::new(Channel::new(self.kept(id)))).clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of the further processes in container `id`, with a folder each.
    pub fn processes(&self, id: &str) -> PathBuf {
        self.paths.runtime(id).join("exec")
    }

    /// Removes the FIFOs of a further process in container `id`.
    pub fn close(&self, id: &str, process: &str) {
        let dir = self.fifos(id, Some(process));
        if let Err(error) = std::fs::remove_dir_all(&dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove the FIFOs of a process");
        }
    }

    fn fifos(&self, id: &str, process: Option<&str>) -> PathBuf {
        match process {
            Some(process) => self.processes(id).join(process),
            None => self.paths.runtime(id),
        }
    }

    fn kept(&self, id: &str) -> PathBuf {
        self.paths.container(id).join("log")
    }
}
