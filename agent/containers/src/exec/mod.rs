//! Further processes in running containers: `exec`.
//!
//! What is known of one is in memory only, as it is with Docker; a process that this daemon left
//! behind when it was killed is let run to its end, and then cleared away.

mod left;
mod output;
mod process;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bollard::models::ExecConfig;
use containerd_client::services::v1::{
    DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest, StartRequest, WaitRequest,
};
use oci_spec::runtime::{Process, Spec};
use prost_types::Any;
use tokio::sync::watch;

use crate::containerd::Containerd;
use crate::engine::{Container, Engine, Status, random_id};
use crate::error::{Error, Result};
use crate::streams::{Fifos, Streams};

pub use output::Reader;

const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
/// A process that has ended can be asked about for so long.
const KEPT: Duration = Duration::from_secs(300);
/// How long a start is waited for by who wants to tell the size of the terminal.
const PATIENCE: Duration = Duration::from_secs(10);

/// The processes that were asked for.
#[derive(Debug)]
pub struct Execs {
    containerd: Containerd,
    engine: Arc<Engine>,
    streams: Arc<Streams>,
    known: Mutex<HashMap<String, Arc<Exec>>>,
}

/// One of them.
#[derive(Debug)]
pub struct Exec {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Where it is to run.
    pub container: Arc<Container>,
    /// What was asked.
    pub config: ExecConfig,
    state: watch::Sender<State>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct State {
    /// It was started.
    pub started: bool,
    /// Its number on this host, once it runs.
    pub pid: u32,
    /// How it ended, and when.
    pub exit: Option<(i64, Instant)>,
}

impl State {
    /// Has it ended?
    pub fn ended(&self) -> bool {
        self.exit.is_some()
    }
}

impl Exec {
    /// What became of it.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits until it runs, or has ended.
    pub async fn running(&self) -> Result<()> {
        let mut state = self.state.subscribe();
        let running = state.wait_for(|state| state.pid != 0 || state.ended());
        match tokio::time::timeout(PATIENCE, running).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::Failed("timeout waiting for exec session ready".to_owned())),
        }
    }

    fn end(&self, code: i64) {
        self.state.send_modify(|state| state.exit = Some((code, Instant::now())));
    }
}

impl Execs {
    /// Processes in the containers of `engine`.
    pub fn new(containerd: Containerd, engine: Arc<Engine>, streams: Arc<Streams>) -> Self {
        Self { containerd, engine, streams, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Exec>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that `id` names.
    pub fn find(&self, id: &str) -> Result<Arc<Exec>> {
        self.known().get(id).cloned().ok_or_else(|| Error::NotFound(format!("No such exec instance: {id}")))
    }

    /// Those in a container that are not forgotten.
    pub fn of(&self, container: &str) -> Vec<String> {
        self.known().values().filter(|exec| exec.container.id() == container).map(|exec| exec.id.clone()).collect()
    }

    /// Notes what is to be started in `container`.
    pub fn create(&self, container: Arc<Container>, config: ExecConfig) -> Result<Arc<Exec>> {
        runs(&container)?;
        if config.cmd.as_deref().unwrap_or_default().is_empty() {
            return Err(Error::Invalid("no exec command specified".to_owned()));
        }
        let id = random_id()?;
        let exec = Arc::new(Exec { id: id.clone(), container, config, state: watch::Sender::default() });
        let mut known = self.known();
        let old = |state: State| state.exit.is_some_and(|(_, at)| at.elapsed() > KEPT);
        known.retain(|_, exec| !old(exec.state()) && !exec.container.state().removed);
        known.insert(id, exec.clone());
        drop(known);
        self.engine.tell(&exec.container, &format!("exec_create: {}", command(&exec)), &[("execID", exec.id.clone())]);
        Ok(exec)
    }

    /// May it be started? Whoever asks first starts it.
    pub fn claim(&self, exec: &Exec) -> Result<()> {
        runs(&exec.container)?;
        let mut before = State::default();
        exec.state.send_if_modified(|state| {
            before = *state;
            !std::mem::replace(&mut state.started, true)
        });
        match before {
            State { exit: Some(_), .. } => Err(Error::Conflict(format!("exec command {} has already run", exec.id))),
            State { started: true, .. } => Err(Error::Conflict(format!("exec command {} is already running", exec.id))),
            _ => Ok(()),
        }
    }

    /// Starts it, claimed before. Its output comes from the reader, in a terminal of `size`.
    pub async fn start(self: &Arc<Self>, exec: &Arc<Exec>, attached: bool, size: Option<(u64, u64)>) -> Result<Reader> {
        match self.try_start(exec, attached, size).await {
            Ok(reader) => {
                tokio::spawn(self.clone().see_it_end(exec.clone()));
                Ok(reader)
            }
            Err(error) => {
                self.clear(exec.container.id(), &exec.id).await;
                let (code, error) = process::failure(error);
                exec.end(code);
                Err(error)
            }
        }
    }

    async fn try_start(&self, exec: &Exec, attached: bool, size: Option<(u64, u64)>) -> Result<Reader> {
        let (id, config) = (exec.container.id(), &exec.config);
        let tty = config.tty.unwrap_or(false);
        let process = self.process(exec, size).await?;
        let value = serde_json::to_vec(&process).map_err(|error| Error::failed("write down a process", error))?;
        let wants = |asked: Option<bool>| attached && asked.unwrap_or(false);
        let mut fifos = self.streams.open(id, Some(&exec.id), tty, wants(config.attach_stdin))?;
        // A terminal is read even for no one: without a reader it would be no terminal.
        fifos.stdout = fifos.stdout.filter(|_| tty || wants(config.attach_stdout));
        fifos.stderr = fifos.stderr.filter(|_| wants(config.attach_stderr));
        let paths = [fifos.stdout.as_deref(), fifos.stderr.as_deref()];
        let reader = Reader::open(paths, exec.state.subscribe())
            .map_err(|error| Error::failed("open the output of a process", error))?;
        let request = ExecProcessRequest {
            container_id: id.to_owned(),
            exec_id: exec.id.clone(),
            stdin: Fifos::text(fifos.stdin.as_ref()),
            stdout: Fifos::text(fifos.stdout.as_ref()),
            stderr: Fifos::text(fifos.stderr.as_ref()),
            terminal: tty,
            spec: Some(Any { type_url: PROCESS.to_owned(), value }),
        };
        self.containerd.tasks().exec(request).await?;
        let request = StartRequest { container_id: id.to_owned(), exec_id: exec.id.clone() };
        let pid = self.containerd.tasks().start(request).await?.into_inner().pid;
        exec.state.send_modify(|state| state.pid = pid);
        self.engine.tell(&exec.container, &format!("exec_start: {}", command(exec)), &[("execID", exec.id.clone())]);
        Ok(reader)
    }

    async fn process(&self, exec: &Exec, size: Option<(u64, u64)>) -> Result<Process> {
        let container = &exec.container;
        let record = container.record();
        let request = GetContainerRequest { id: container.id().to_owned() };
        let object = self.containerd.containers().get(request).await?.into_inner().container;
        let spec = object.and_then(|object| object.spec).map(|spec| spec.value).unwrap_or_default();
        let spec: Spec =
            serde_json::from_slice(&spec).map_err(|error| Error::failed("understand the container's spec", error))?;
        let own = spec.process().clone().ok_or_else(|| Error::Failed("the container has no process".to_owned()))?;
        let identity = match exec.config.user.as_deref().filter(|user| !user.is_empty()) {
            Some(user) => {
                let accounts = self.engine.rootfs(container).await?.accounts();
                Some(accounts.identify(user, record.host.group_add.as_deref().unwrap_or_default())?)
            }
            None => None,
        };
        let privileged = exec.config.privileged.unwrap_or(false);
        let all = privileged.then(|| self.engine.all_capabilities()).transpose()?;
        Ok(process::build(own, &exec.config, process::Facts { identity, all, size }))
    }

    /// Kills it; who reads its output sees the end.
    pub async fn kill(&self, exec: &Exec) -> Result<()> {
        let (container_id, exec_id) = (exec.container.id().to_owned(), exec.id.clone());
        match self.containerd.tasks().kill(KillRequest { container_id, exec_id, signal: 9, all: false }).await {
            Ok(_) => Ok(()),
            Err(status) => match Error::from(status) {
                Error::NotFound(_) => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Forgets one that no one will ask about.
    pub fn forget(&self, id: &str) {
        self.known().remove(id);
    }

    /// Waits for its end, tells of it and clears it away.
    async fn see_it_end(self: Arc<Self>, exec: Arc<Exec>) {
        let id = exec.container.id();
        let code = self.wait(id, &exec.id).await;
        exec.end(code);
        let more = [("execID", exec.id.clone()), ("exitCode", code.to_string())];
        self.engine.tell(&exec.container, "exec_die", &more);
        self.clear(id, &exec.id).await;
    }

    /// Waits for the end of a process; one whose container is gone was killed with it.
    async fn wait(&self, id: &str, process: &str) -> i64 {
        const KILLED: i64 = 137;
        let mut failures = 0;
        loop {
            let request = WaitRequest { container_id: id.to_owned(), exec_id: process.to_owned() };
            match self.containerd.tasks().wait(request).await.map_err(Error::from) {
                Ok(response) => return i64::from(response.into_inner().exit_status),
                Err(Error::NotFound(_)) => return KILLED,
                // containerd is being restarted; the shim goes on.
                Err(error) if failures == 60 => {
                    tracing::warn!(id, process, "cannot wait for a process: {error}");
                    return KILLED;
                }
                Err(_) => failures += 1,
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Takes away what is left of a process, which has ended or is to.
    async fn clear(&self, id: &str, process: &str) {
        let delete = || DeleteProcessRequest { container_id: id.to_owned(), exec_id: process.to_owned() };
        if let Err(error) = self.containerd.tasks().delete_process(delete()).await.map_err(Error::from)
            && !matches!(error, Error::NotFound(_))
        {
            let kill = KillRequest { container_id: id.to_owned(), exec_id: process.to_owned(), signal: 9, all: false };
            self.containerd.tasks().kill(kill).await.ok();
            self.wait(id, process).await;
            self.containerd.tasks().delete_process(delete()).await.ok();
        }
        self.streams.close(id, process);
    }
}

/// Only a running container can have further processes.
fn runs(container: &Container) -> Result<()> {
    let refused = |why: &str| Err(Error::Conflict(format!("container {} {why}", container.id())));
    match container.state().status {
        Status::Running => Ok(()),
        Status::Paused => refused("is paused, unpause the container before exec"),
        Status::Restarting => refused("is restarting, wait until the container is running"),
        _ => refused("is not running"),
    }
}

fn command(exec: &Exec) -> String {
    exec.config.cmd.as_deref().unwrap_or_default().join(" ")
}

/// The names of the processes that have a folder in `dir`.
fn folders(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
