//! Owns what a declaration is once it is checked: the rest of this module sees nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, PortMap};
use keelson_common::strict::Problem;
use serde::{Deserialize, Serialize};

use super::format::window::Window;

/// The label that names a declared container's owner: `FILE/NAME`.
pub const OWNER: &str = "org.keelson.declared";
/// The label with the digest of what was declared when the container was made.
pub const HASH: &str = "org.keelson.declared.hash";

/// The label with the digest of the group's network that the container was made for.
pub const NETWORK: &str = "org.keelson.declared.network";
/// The label with the image that the container was made from: a name, or a name and a digest.
pub const IMAGE: &str = "org.keelson.declared.image";

/// One file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// Its name without the folder, `web.toml`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What its containers share.
    pub group: Option<Group>,
    /// Its containers, in its order.
    pub containers: Vec<Declaration>,
}

/// A network namespace that containers share.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The file's name without `.toml`.
    pub name: String,
    /// `bridge` or `none`.
    pub network: String,
    /// Published ports.
    pub ports: PortMap,
}

/// One container that should be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Declaration {
    /// The name of its file.
    pub file: String,
    /// Its name, unique on the host.
    pub name: String,
    /// What is asked of the engine, without owner and hash.
    pub body: ContainerCreateBody,
    /// The image, as it is written.
    pub image: String,
    /// Whether it should run.
    pub enabled: bool,
    /// The group whose network it has.
    pub group: Option<String>,
    /// It is started after these.
    pub after: Vec<String>,
    /// It is started when these are so, and restarted with them.
    pub requires: BTreeMap<String, Condition>,
    /// What follows its end.
    pub restart: Restart,
    /// Whether it is restarted when it is unhealthy.
    pub restart_unhealthy: bool,
    /// How it comes to newer images.
    pub update: Option<Update>,
    /// SHA-256 of all that a container cannot change while it lives.
    pub hash: String,
    /// SHA-256 of the group's network; a new one means new containers in it.
    pub network: Option<String>,
}

impl Declaration {
    /// The value of [`OWNER`].
    pub fn owner(&self) -> String {
        format!("{}/{}", self.file, self.name)
    }
}

/// What a container waits for in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It runs.
    Started,
    /// Its health check says that it is healthy.
    Healthy,
    /// It ended with 0.
    Completed,
}

/// What follows the end of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// When it is started again.
    pub policy: Policy,
    /// So often at most, of `on-failure`.
    pub retries: Option<u32>,
    /// The wait before the first restart; each next is twice as long.
    pub delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
    /// A run as long as this makes the next wait the first one again.
    pub reset_after: Duration,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Never.
    No,
    /// When it ended with anything but 0.
    OnFailure,
    /// Always.
    Always,
}

/// How a container comes to newer images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// How often the registry is asked.
    pub interval: Duration,
    /// When a newer image may be taken.
    pub window: Option<Window>,
    /// How long a new image must run, when it has no health check, to be the good one.
    pub trial: Duration,
}

/// A file that cannot be used; what it declared before stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its name without the folder.
    pub name: String,
    /// What is wrong in it.
    pub problems: Vec<Problem>,
}

/// Everything declared on this host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declared {
    /// The good files, by name.
    pub files: Vec<File>,
    /// The others.
    pub broken: Vec<Broken>,
}

impl Declared {
    /// Every container of every good file.
    pub fn containers(&self) -> impl Iterator<Item = &Declaration> {
        self.files.iter().flat_map(|file| &file.containers)
    }

    /// Every group of every good file.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.files.iter().filter_map(|file| file.group.as_ref())
    }

    /// Whether the file that `owner` (`FILE/NAME`) names cannot be used now.
    pub fn owner_is_broken(&self, owner: &str) -> bool {
        let file = owner.rsplit_once('/').map_or(owner, |(file, _)| file);
        self.broken.iter().any(|broken| broken.name == file)
    }
}
