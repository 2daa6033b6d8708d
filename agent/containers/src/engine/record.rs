//! Owns what is kept of a container in its folder: what was asked (`container.json`) and what
//! became of it (`state.json`).

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{ContainerConfig, ContainerStateStatusEnum, EndpointSettings, Health, HostConfig, MountPoint};
use serde::{Deserialize, Serialize};

use super::moment::Moment;
use crate::error::{Error, Result};

const RECORD: &str = "container.json";
const STATE: &str = "state.json";

/// What was asked for, with all that its image adds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name, without the slash that Docker shows before it.
    pub name: String,
    /// When it was made.
    pub created: Moment,
    /// The id of its image: `sha256:…`.
    pub image: String,
    /// The key of the snapshot of its image, the parent of its own.
    pub chain: String,
    /// Docker's configuration, merged with the image's.
    pub config: ContainerConfig,
    /// How it runs on this host.
    pub host: HostConfig,
    /// What was asked of each network.
    #[serde(default)]
    pub endpoints: HashMap<String, EndpointSettings>,
    /// Its binds and volumes, resolved.
    #[serde(default)]
    pub mounts: Vec<MountPoint>,
    /// The volumes that were made for it alone.
    #[serde(default)]
    pub anonymous: Vec<String>,
}

/// What a container is doing, in Docker's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    #[default]
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Ended, and about to be started again.
    Restarting,
    /// Being removed.
    Removing,
    /// Ended.
    Exited,
    /// It could not be removed.
    Dead,
}

impl Status {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Has it a process?
    pub fn alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl From<Status> for ContainerStateStatusEnum {
    fn from(status: Status) -> Self {
        match status {
            Status::Created => Self::CREATED,
            Status::Running => Self::RUNNING,
            Status::Paused => Self::PAUSED,
            Status::Restarting => Self::RESTARTING,
            Status::Removing => Self::REMOVING,
            Status::Exited => Self::EXITED,
            Status::Dead => Self::DEAD,
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// What it is doing.
    pub status: Status,
    /// Its first process, while there is one.
    pub pid: u32,
    /// How it last ended.
    pub exit_code: i64,
    /// Why it could not be started, when it could not.
    pub error: String,
    /// Did it run out of memory?
    pub oom_killed: bool,
    /// When it was last started.
    pub started: Option<Moment>,
    /// When it last ended.
    pub finished: Option<Moment>,
    /// How often its policy started it again since someone asked for it.
    pub restarts: u32,
    /// How often its policy started it again in a row without it running for long.
    pub failures: u32,
    /// How often it ended at all: what waits for its next end watches this.
    pub ends: u64,
    /// Someone asked for its end: its policy does not start it again.
    pub stopped: bool,
    /// What its health check says.
    pub health: Option<Health>,
    /// It is gone; no file says so.
    #[serde(skip)]
    pub removed: bool,
}

impl Record {
    /// Reads what `folder` keeps.
    pub fn read(folder: &Path) -> Result<Self> {
        read(&folder.join(RECORD))
    }

    /// Keeps it in `folder`, durably.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(RECORD);
        keelson_common::fs::atomic_write(&path, &bytes(self)?, 0o600)
            .map_err(|error| Error::failed(format_args!("write {}", path.display()), error))
    }
}

#[cfg(test)]
impl Record {
    /// A container called `name`, as little as one can be.
    pub fn sample(id: &str, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            created: Moment::now(),
            image: "sha256:0".to_owned(),
            chain: "sha256:1".to_owned(),
            config: ContainerConfig::default(),
            host: HostConfig::default(),
            endpoints: HashMap::new(),
            mounts: Vec::new(),
            anonymous: Vec::new(),
        }
    }
}

impl State {
    /// Reads what `folder` keeps; of a container that was never started nothing is kept.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(STATE);
        match path.metadata() {
            // A host that lost power may have kept the name of the file and not its content.
            Ok(file) if file.len() > 0 => read(&path),
            _ => Ok(Self::default()),
        }
    }

    /// Keeps it in `folder`: whole or not at all. It need not outlive a loss of power, after
    /// which nothing runs anyway.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(STATE);
        let new = folder.join(".state.json");
        std::fs::write(&new, bytes(self)?)
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|error| Error::failed(format_args!("write {}", path.display()), error))
    }
}

fn bytes(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::failed("write down a container", error))
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(|error| Error::failed(format_args!("read {}", path.display()), error))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::failed(format_args!("understand {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path()).unwrap().status, Status::Created);
        let state = State { status: Status::Exited, exit_code: 137, finished: Some(Moment::now()), ..State::default() };
        state.write(folder.path()).unwrap();
        let read = State::read(folder.path()).unwrap();
        assert_eq!((read.status, read.exit_code, read.finished), (Status::Exited, 137, state.finished));
    }

    #[test]
    fn an_emptied_state_is_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(STATE), b"").unwrap();
        assert_eq!(State::read(folder.path()).unwrap().status, Status::Created);
    }
}
