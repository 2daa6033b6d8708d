//! Owns what is said to containerd about one container: its snapshot, its container object, its
//! task. Nothing is decided here.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use containerd_client::services::v1::container::Runtime;
use containerd_client::services::v1::snapshots::{
    ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, UsageRequest,
};
use containerd_client::services::v1::{
    Container, CreateContainerRequest, CreateTaskRequest, DeleteContainerRequest, DeleteTaskRequest, GetRequest,
    KillRequest, ListContainersRequest, ListPidsRequest, ListTasksRequest, PauseTaskRequest, ResumeTaskRequest,
    StartRequest, UpdateContainerRequest, UpdateTaskRequest, WaitRequest,
};
use containerd_client::tonic::{self, Code};
use containerd_client::types::Mount;
use containerd_client::types::v1::{Process, Status};
use oci_spec::runtime::{LinuxResources, Spec};
use prost::Message;
use prost_types::Any;

use super::moment::Moment;
use crate::containerd::Containerd;
use crate::error::{Error, Result};

const RUNTIME: &str = "io.containerd.runc.v2";
const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const RESOURCES: &str = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources";

/// Says of a snapshot that it is a container's.
const OURS: &str = "keelson.container";
/// How long the kernel has to end what was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The options of the shim, of which we set these.
#[derive(Clone, PartialEq, Message)]
struct RuncOptions {
    #[prost(string, tag = "6")]
    binary_name: String,
    #[prost(string, tag = "7")]
    root: String,
    #[prost(bool, tag = "9")]
    systemd_cgroup: bool,
}

/// How containers are run.
#[derive(Debug, Clone)]
pub struct Tasks {
    containerd: Containerd,
    snapshotter: String,
    runtime: String,
    systemd: bool,
}

/// The streams of a task, as FIFOs; empty is /dev/null.
#[derive(Debug, Clone, Default)]
pub struct Io {
    /// Read by the task.
    pub stdin: String,
    /// Written by it.
    pub stdout: String,
    /// Written by it; empty with a terminal.
    pub stderr: String,
    /// Has it a terminal?
    pub terminal: bool,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// What a shell would show as `$?`.
    pub code: u32,
    /// When.
    pub at: Moment,
}

impl Tasks {
    /// Tasks of `containerd` run by the program `runtime`, in cgroups that systemd makes or not.
    pub fn new(containerd: Containerd, snapshotter: &str, runtime: &str, systemd: bool) -> Self {
        Self { containerd, snapshotter: snapshotter.to_owned(), runtime: runtime.to_owned(), systemd }
    }

    /// The program that runs containers.
    pub fn runtime(&self) -> &str {
        &self.runtime
    }

    /// Makes the writable snapshot of a container.
    pub async fn prepare(&self, id: &str, parent: &str) -> Result<Vec<Mount>> {
        let request = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: id.to_owned(),
            parent: parent.to_owned(),
            labels: rooted(),
        };
        Ok(self.containerd.snapshots().prepare(request).await?.into_inner().mounts)
    }

    /// How the snapshot of a container is mounted.
    pub async fn mounts(&self, id: &str) -> Result<Vec<Mount>> {
        let request = MountsRequest { snapshotter: self.snapshotter.clone(), key: id.to_owned() };
        Ok(self.containerd.snapshots().mounts(request).await?.into_inner().mounts)
    }

    /// Bytes in the snapshot of a container.
    pub async fn usage(&self, id: &str) -> Result<i64> {
        let request = UsageRequest { snapshotter: self.snapshotter.clone(), key: id.to_owned() };
        Ok(self.containerd.snapshots().usage(request).await?.into_inner().size)
    }

    /// Removes the snapshot of a container, if there is one.
    pub async fn discard(&self, id: &str) -> Result<()> {
        let request = RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key: id.to_owned() };
        absent_is_fine(self.containerd.snapshots().remove(request).await)
    }

    /// Tells containerd what to run, for the first time or anew.
    pub async fn describe(&self, id: &str, image: &str, spec: &Spec) -> Result<()> {
        let container = self.object(id, image, spec)?;
        let request = CreateContainerRequest { container: Some(container.clone()) };
        match self.containerd.containers().create(request).await {
            Err(status) if status.code() == Code::AlreadyExists => {
                let paths = ["spec", "image"].map(str::to_owned).to_vec();
                let request = UpdateContainerRequest {
                    container: Some(container),
                    update_mask: Some(prost_types::FieldMask { paths }),
                };
                self.containerd.containers().update(request).await?;
            }
            done => drop(done?),
        }
        Ok(())
    }

    fn object(&self, id: &str, image: &str, spec: &Spec) -> Result<Container> {
        let options =
            RuncOptions { binary_name: self.runtime.clone(), root: String::new(), systemd_cgroup: self.systemd };
        let options = Any { type_url: "containerd.runc.v1.Options".to_owned(), value: options.encode_to_vec() };
        let value = serde_json::to_vec(spec).map_err(|error| Error::failed("write down the runtime's spec", error))?;
        Ok(Container {
            id: id.to_owned(),
            image: image.to_owned(),
            runtime: Some(Runtime { name: RUNTIME.to_owned(), options: Some(options) }),
            spec: Some(Any { type_url: SPEC.to_owned(), value }),
            snapshotter: self.snapshotter.clone(),
            snapshot_key: id.to_owned(),
            ..Container::default()
        })
    }

    /// Makes containerd forget the container, if it knows it.
    pub async fn forget(&self, id: &str) -> Result<()> {
        let request = DeleteContainerRequest { id: id.to_owned() };
        absent_is_fine(self.containerd.containers().delete(request).await)
    }

    /// Makes the task: its namespaces and its first process, which waits. Gives the process.
    pub async fn create(&self, id: &str, rootfs: Vec<Mount>, io: Io) -> Result<u32> {
        let request = CreateTaskRequest {
            container_id: id.to_owned(),
            rootfs,
            stdin: io.stdin,
            stdout: io.stdout,
            stderr: io.stderr,
            terminal: io.terminal,
            ..CreateTaskRequest::default()
        };
        Ok(self.containerd.tasks().create(request).await?.into_inner().pid)
    }

    /// Lets the first process run.
    pub async fn start(&self, id: &str) -> Result<u32> {
        let request = StartRequest { container_id: id.to_owned(), exec_id: String::new() };
        Ok(self.containerd.tasks().start(request).await?.into_inner().pid)
    }

    /// Sends a signal to the first process, or to all.
    pub async fn kill(&self, id: &str, signal: u32, all: bool) -> Result<()> {
        let request = KillRequest { container_id: id.to_owned(), exec_id: String::new(), signal, all };
        self.containerd.tasks().kill(request).await?;
        Ok(())
    }

    /// Freezes the task.
    pub async fn pause(&self, id: &str) -> Result<()> {
        self.containerd.tasks().pause(PauseTaskRequest { container_id: id.to_owned() }).await?;
        Ok(())
    }

    /// Lets a frozen task go on.
    pub async fn resume(&self, id: &str) -> Result<()> {
        self.containerd.tasks().resume(ResumeTaskRequest { container_id: id.to_owned() }).await?;
        Ok(())
    }

    /// The processes of a task.
    pub async fn pids(&self, id: &str) -> Result<HashSet<u32>> {
        let request = ListPidsRequest { container_id: id.to_owned() };
        let response = self.containerd.tasks().list_pids(request).await?.into_inner();
        Ok(response.processes.into_iter().map(|process| process.pid).collect())
    }

    /// Changes the limits of a task.
    pub async fn update(&self, id: &str, resources: &LinuxResources) -> Result<()> {
        let value = serde_json::to_vec(resources).map_err(|error| Error::failed("write down the limits", error))?;
        let resources = Some(Any { type_url: RESOURCES.to_owned(), value });
        let request = UpdateTaskRequest { container_id: id.to_owned(), resources, annotations: HashMap::new() };
        self.containerd.tasks().update(request).await?;
        Ok(())
    }

    /// Removes an ended task and tells how it ended; none when there is no task.
    pub async fn delete(&self, id: &str) -> Result<Option<Exit>> {
        match self.containerd.tasks().delete(DeleteTaskRequest { container_id: id.to_owned() }).await {
            Ok(response) => {
                let response = response.into_inner();
                Ok(Some(exit(response.exit_status, response.exited_at)))
            }
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// Waits, for a while, until the task has ended.
    pub async fn ended(&self, id: &str) -> Result<()> {
        let request = WaitRequest { container_id: id.to_owned(), exec_id: String::new() };
        match tokio::time::timeout(PATIENCE, self.containerd.tasks().wait(request)).await {
            Ok(waited) => absent_is_fine(waited),
            Err(_) => Err(Error::Failed(format!("the task {id} did not end in {} seconds", PATIENCE.as_secs()))),
        }
    }

    /// What containerd keeps of containers that are not among `alive`.
    pub async fn strays(&self, alive: &HashSet<String>) -> Result<HashSet<String>> {
        let containers = self.containerd.containers().list(ListContainersRequest::default()).await?.into_inner();
        let mut strays: HashSet<String> = containers.containers.into_iter().map(|container| container.id).collect();
        let filters = vec![format!("labels.\"{OURS}\"==true")];
        let request = ListSnapshotsRequest { snapshotter: self.snapshotter.clone(), filters };
        let mut snapshots = self.containerd.snapshots().list(request).await?.into_inner();
        while let Some(some) = snapshots.message().await? {
            strays.extend(some.info.into_iter().map(|info| info.name));
        }
        strays.retain(|id| !alive.contains(id));
        Ok(strays)
    }

    /// The task as it is, if there is one.
    pub async fn get(&self, id: &str) -> Result<Option<Task>> {
        let request = GetRequest { container_id: id.to_owned(), exec_id: String::new() };
        match self.containerd.tasks().get(request).await {
            Ok(response) => Ok(response.into_inner().process.map(Task::from)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// All tasks as they are, by container.
    pub async fn list(&self) -> Result<HashMap<String, Task>> {
        let response = self.containerd.tasks().list(ListTasksRequest::default()).await?.into_inner();
        Ok(response.tasks.into_iter().map(|process| (process.id.clone(), Task::from(process))).collect())
    }
}

/// A task, as containerd knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Its first process.
    pub pid: u32,
    /// What it does.
    pub phase: Phase,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Made, and not let run yet.
    Created,
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// It ended.
    Stopped(Exit),
    /// containerd could not say.
    Unknown,
}

impl From<Process> for Task {
    fn from(process: Process) -> Self {
        let phase = match process.status() {
            Status::Created => Phase::Created,
            Status::Running => Phase::Running,
            Status::Paused | Status::Pausing => Phase::Paused,
            Status::Stopped => Phase::Stopped(exit(process.exit_status, process.exited_at)),
            Status::Unknown => Phase::Unknown,
        };
        Self { pid: process.pid, phase }
    }
}

fn exit(code: u32, at: Option<prost_types::Timestamp>) -> Exit {
    Exit { code, at: at.map_or_else(Moment::now, Moment::from) }
}

/// containerd collects what nothing refers to; this says that we do.
fn rooted() -> HashMap<String, String> {
    HashMap::from([
        ("containerd.io/gc.root".to_owned(), Moment::now().to_string()),
        (OURS.to_owned(), "true".to_owned()),
    ])
}

fn absent_is_fine<T>(response: std::result::Result<tonic::Response<T>, tonic::Status>) -> Result<()> {
    match response {
        Err(status) if status.code() != Code::NotFound => Err(status.into()),
        _ => Ok(()),
    }
}
