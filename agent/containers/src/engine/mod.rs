//! The containers: what is known of each, and one owner for everything that happens to it.
//!
//! ```text
//! created --start--> running <--pause/unpause--> paused
//!                      | ends, or is killed
//!                      v
//!        removed <-- exited --policy--> restarting --> running
//! ```
//!
//! What is to happen is decided by pure functions ([`policy`], [`config`], [`spec`]); [`task`] says it
//! to containerd. A container's turn ([`Container`]) is held by who changes it; its state is
//! watched by who waits.

mod change;
mod clock;
pub mod config;
mod container;
mod create;
mod end;
mod facts;
mod health;
mod info;
mod inspect;
mod links;
mod list;
mod moment;
mod names;
mod orphans;
mod points;
mod policy;
mod prune;
mod record;
mod recover;
mod registry;
mod remove;
mod rootfs;
mod select;
mod signal;
pub mod spec;
mod start;
mod stats;
mod stop;
pub mod task;
mod top;
pub mod volumes;
mod wait;
mod watch;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bollard::models::EventMessageTypeEnum;

pub use container::Container;
pub use create::random_id;
pub use inspect::Inspected;
pub use list::Listing;
pub use moment::{Moment, NEVER};
pub use prune::until;
pub use record::{Record, State, Status};
pub use remove::Removal;
pub use rootfs::Rootfs;
pub use select::FILTERS;
pub use wait::Condition;

use self::registry::Registry;
use self::task::Tasks;
use self::volumes::Volumes;
use super::containerd::Containerd;
use super::error::Result;
use super::events::Events;
use super::images::{Images, User, Users};
use super::network::Network;
use super::options::Options;
use super::paths::Paths;
use super::streams::Streams;

/// The containers of this host.
#[derive(Debug)]
pub struct Engine {
    paths: Paths,
    containerd: Containerd,
    events: Events,
    images: Arc<Images>,
    network: Arc<Network>,
    streams: Arc<Streams>,
    tasks: Tasks,
    volumes: Volumes,
    namespace: String,
    socket: PathBuf,
    cgroups: spec::Cgroups,
    unified: bool,
    kernel: String,
    host_capabilities: u64,
    profile: OnceLock<spec::seccomp::Profile>,
    registry: Mutex<Registry>,
}

impl Engine {
    /// Containers made of the other parts.
    pub fn new(
        paths: Paths,
        containerd: Containerd,
        events: Events,
        images: Arc<Images>,
        network: Arc<Network>,
        streams: Arc<Streams>,
        options: &Options,
    ) -> Result<Self> {
        let cgroups = spec::Cgroups::new(&options.cgroup, Path::new("/run/systemd/system").exists());
        let runtime = options.runtime.to_string_lossy();
        let tasks = Tasks::new(containerd.clone(), &options.snapshotter, &runtime, cgroups.systemd());
        Ok(Self {
            volumes: Volumes::new(paths.volumes()),
            namespace: options.namespace.clone(),
            socket: options.containerd.clone(),
            unified: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            host_capabilities: host_capabilities(),
            profile: OnceLock::new(),
            registry: Mutex::default(),
            paths,
            containerd,
            events,
            images,
            network,
            streams,
            tasks,
            cgroups,
        })
    }

    /// The container that `reference` names: its id, its name, or how its id begins.
    pub fn find(&self, reference: &str) -> Result<Arc<Container>> {
        self.registry().find(reference)
    }

    /// All containers, running or not.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.registry().all()
    }

    /// What a privileged process may do.
    pub fn all_capabilities(&self) -> Result<std::collections::HashSet<oci_spec::runtime::Capability>> {
        spec::all_capabilities(self.host_capabilities)
    }

    /// What is said to containerd about containers.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that `action` happened to `container`; `more` is said beside its image, name and labels.
    pub fn tell(&self, container: &Container, action: &str, more: &[(&str, String)]) {
        let record = container.record();
        let mut attributes: HashMap<String, String> = record.config.labels.clone().unwrap_or_default();
        attributes.insert("image".to_owned(), record.config.image.clone().unwrap_or_default());
        attributes.insert("name".to_owned(), record.name.clone());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.events.publish(EventMessageTypeEnum::CONTAINER, action, container.id(), attributes);
    }
}

/// The capabilities there are on this host, a bit each: what its first process may have. A host that
/// is itself confined has fewer than its kernel knows, and this daemon fewer than the host.
fn host_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/1/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    bounding.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(u64::MAX)
}

impl Users for Engine {
    fn of_image(&self, id: &str) -> Vec<User> {
        let uses = |container: &Arc<Container>| {
            let running = container.state().status.alive();
            (container.record().image == id).then(|| User { id: container.id().to_owned(), running })
        };
        self.all().iter().filter_map(uses).collect()
    }
}
