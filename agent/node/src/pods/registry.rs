//! Owns [`Registry`]: the pods as their workers last saw them, for everyone else to read.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};

use crate::cri::v1;

/// Where in a pod's spec a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerKind {
    /// `initContainers` without a restart policy of its own.
    Init,
    /// `initContainers` with `restartPolicy: Always`.
    Sidecar,
    /// `containers`.
    App,
    /// `ephemeralContainers`.
    Ephemeral,
}

/// A container that was made, the newest of its name.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerView {
    /// Its name in the pod.
    pub name: String,
    /// Where it stands.
    pub kind: ContainerKind,
    /// containerd's id.
    pub id: String,
    /// How it is.
    pub state: v1::ContainerState,
    /// When it was started, nanoseconds since the epoch; 0 before.
    pub started_at: i64,
    /// How often it was made before.
    pub restarts: u32,
    /// Its log.
    pub log: std::path::PathBuf,
}

/// A pod as its worker last saw it.
#[derive(Debug, Clone)]
pub struct PodView {
    /// What is wanted, as the API last showed it; for a static pod, as its file says.
    pub pod: Arc<Pod>,
    /// Its status as this node computed it last.
    pub status: PodStatus,
    /// The sandbox's id, when there is one that is ready.
    pub sandbox: Option<String>,
    /// The addresses.
    pub ips: Vec<String>,
    /// The newest container of each name.
    pub containers: Vec<ContainerView>,
    /// Whether it is going: deleted, evicted, past its deadline.
    pub terminating: bool,
}

#[cfg(test)]
impl PodView {
    /// A pod of which nothing but this is known, for tests.
    pub fn of(pod: Pod, status: PodStatus) -> Self {
        let (pod, sandbox) = (Arc::new(pod), None);
        Self { pod, status, sandbox, ips: Vec::new(), containers: Vec::new(), terminating: false }
    }
}

impl PodView {
    /// Its UID.
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Whether its phase is one that it never leaves.
    pub fn is_over(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// A container of the spec by name; of ephemeral ones what they share with others.
    pub fn container(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// All containers of the spec that can have probes: sidecars and app containers.
    pub fn probed(&self) -> impl Iterator<Item = &Container> {
        let spec = self.pod.spec.as_ref();
        let sidecars = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        sidecars.chain(spec.into_iter().flat_map(|spec| spec.containers.iter()))
    }
}

type Wake = Box<dyn Fn() + Send + Sync>;
/// Ends a pod: `(reason, message, grace in seconds)`.
type End = Box<dyn Fn(String, String, i64) + Send + Sync>;

struct Entry {
    view: Arc<PodView>,
    wake: Wake,
    end: End,
}

/// The pods of this node.
#[derive(Default)]
pub struct Registry {
    pods: RwLock<HashMap<String, Entry>>,
}

impl Registry {
    /// All pods.
    pub fn list(&self) -> Vec<Arc<PodView>> {
        self.read().values().map(|entry| entry.view.clone()).collect()
    }

    /// A pod by UID.
    pub fn by_uid(&self, uid: &str) -> Option<Arc<PodView>> {
        self.read().get(uid).map(|entry| entry.view.clone())
    }

    /// A pod by namespace and name; the newest where an old one of that name is still going.
    pub fn by_name(&self, namespace: &str, name: &str) -> Option<Arc<PodView>> {
        let pods = self.read();
        let named = pods.values().filter(|entry| {
            let meta = &entry.view.pod.metadata;
            meta.name.as_deref() == Some(name) && meta.namespace.as_deref() == Some(namespace)
        });
        named.min_by_key(|entry| entry.view.terminating).map(|entry| entry.view.clone())
    }

    /// Has the pod's worker look again, at once.
    pub fn wake(&self, uid: &str) {
        if let Some(entry) = self.read().get(uid) {
            (entry.wake)();
        }
    }

    /// Ends a pod for good: its containers are stopped with `grace` seconds, its phase is `Failed` with
    /// this reason and message. For eviction.
    pub fn evict(&self, uid: &str, reason: &str, message: &str, grace: i64) {
        if let Some(entry) = self.read().get(uid) {
            (entry.end)(reason.to_owned(), message.to_owned(), grace);
        }
    }

    /// Takes a worker's pod in.
    pub(crate) fn insert(&self, view: PodView, wake: Wake, end: End) {
        let uid = view.uid().to_owned();
        self.write().insert(uid, Entry { view: Arc::new(view), wake, end });
    }

    /// Takes a worker's newer view.
    pub(crate) fn update(&self, view: PodView) {
        if let Some(entry) = self.write().get_mut(view.uid()) {
            entry.view = Arc::new(view);
        }
    }

    /// Forgets a pod.
    pub(crate) fn remove(&self, uid: &str) {
        self.write().remove(uid);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Entry>> {
        self.pods.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Entry>> {
        self.pods.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
