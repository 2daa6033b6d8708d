//! Owns [`Snapshot`]: what the host, its pods and their containers use at one moment, from cgroups
//! alone. containerd is not asked: this is what is read every few seconds.

use std::sync::Arc;

use jiff::Timestamp;

use super::cgroup::{self, Mounts, Usage};
use super::node::{self, Memory};
use crate::config::CgroupDriver;
use crate::context::Context;
use crate::cri::v1::ContainerState;
use crate::pods::PodView;

/// What is used at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// The moment.
    pub at: Timestamp,
    /// Processor time of the host since it was started, nanoseconds.
    pub cpu: Option<u64>,
    /// Memory of the host.
    pub memory: Memory,
    /// The pods.
    pub pods: Vec<PodSample>,
}

/// What a pod uses.
#[derive(Debug, Clone)]
pub(super) struct PodSample {
    pub uid: String,
    pub name: String,
    pub namespace: String,
    /// When the API took it in.
    pub created: Option<Timestamp>,
    /// Its cgroup, below the root of the hierarchy.
    pub cgroup: String,
    pub usage: Usage,
    pub containers: Vec<ContainerSample>,
    pub view: Arc<PodView>,
}

/// What a running container uses.
#[derive(Debug, Clone)]
pub(super) struct ContainerSample {
    pub name: String,
    pub id: String,
    /// Its cgroup, below the root of the hierarchy.
    pub cgroup: String,
    /// When it was started.
    pub started: Option<Timestamp>,
    pub usage: Usage,
}

/// What is used now.
pub(super) async fn collect(context: &Context) -> Snapshot {
    let driver = context.settings.cgroup_driver;
    let pods = context.pods.list().into_iter();
    let pods: Vec<_> = pods.map(|view| (cgroup::pod_path(&context.cgroups.parent(&view.pod)), view)).collect();
    let taken = tokio::task::spawn_blocking(move || take(Mounts::of_host(), driver, pods));
    taken.await.unwrap_or_else(|_| Snapshot {
        at: Timestamp::now(),
        cpu: None,
        memory: Memory::default(),
        pods: Vec::new(),
    })
}

fn take(mounts: &Mounts, driver: CgroupDriver, pods: Vec<(String, Arc<PodView>)>) -> Snapshot {
    let pods = pods.into_iter().map(|(cgroup, view)| pod(mounts, driver, cgroup, view)).collect();
    Snapshot { at: Timestamp::now(), cpu: mounts.cpu(""), memory: node::memory().unwrap_or_default(), pods }
}

fn pod(mounts: &Mounts, driver: CgroupDriver, cgroup: String, view: Arc<PodView>) -> PodSample {
    let running = view.containers.iter().filter(|container| container.state == ContainerState::ContainerRunning);
    let containers = running.map(|container| {
        let path = cgroup::container_path(driver, &cgroup, &container.id);
        ContainerSample {
            name: container.name.clone(),
            id: container.id.clone(),
            started: Timestamp::from_nanosecond(container.started_at.into()).ok().filter(|_| container.started_at > 0),
            usage: mounts.usage(&path),
            cgroup: path,
        }
    });
    let meta = &view.pod.metadata;
    PodSample {
        uid: view.uid().to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        usage: mounts.usage(&cgroup),
        containers: containers.collect(),
        cgroup,
        view,
    }
}
