//! Owns what containerd says of one pod: [`Observed`], and [`Observer`], which asks no more than what
//! may have changed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cri::{Cri, CriError, v1};

/// A sandbox of the pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Sandbox {
    /// containerd's id.
    pub id: String,
    /// Counts the pod's sandboxes.
    pub attempt: u32,
    /// Whether it runs.
    pub ready: bool,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    /// Its addresses; none where it has the host's.
    pub ips: Vec<String>,
}

/// A container of the pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// containerd's id.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// How often it was made before.
    pub attempt: u32,
    /// How it is.
    pub state: v1::ContainerState,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    /// The sandbox it is in.
    pub sandbox: String,
    /// All that containerd says of it.
    pub status: Arc<v1::ContainerStatus>,
}

impl Seen {
    /// Whether it runs.
    pub fn running(&self) -> bool {
        self.state == v1::ContainerState::ContainerRunning
    }

    /// Whether it has ended.
    pub fn exited(&self) -> bool {
        self.state == v1::ContainerState::ContainerExited
    }
}

/// What containerd says of one pod; the newest first, in both lists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Its sandboxes.
    pub sandboxes: Vec<Sandbox>,
    /// Its containers, dead ones too.
    pub containers: Vec<Seen>,
}

impl Observed {
    /// The sandbox in use: the newest, when it is ready.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }

    /// The newest container of a name.
    pub fn latest(&self, name: &str) -> Option<&Seen> {
        self.containers.iter().find(|seen| seen.name == name)
    }

    /// The newest container of a name in the sandbox in use.
    pub fn current(&self, name: &str) -> Option<&Seen> {
        let sandbox = self.sandbox()?;
        self.containers.iter().find(|seen| seen.name == name && seen.sandbox == sandbox.id)
    }

    /// The one before the newest of a name, when it has ended.
    pub fn previous(&self, name: &str) -> Option<&Seen> {
        self.containers.iter().filter(|seen| seen.name == name).nth(1).filter(|seen| seen.exited())
    }

    /// Whether anything runs, or may.
    pub fn alive(&self) -> bool {
        self.containers.iter().any(Seen::running)
    }
}

/// Asks containerd about one pod.
#[derive(Debug)]
pub struct Observer {
    cri: Cri,
    uid: String,
    host_network: bool,
    containers: HashMap<String, Arc<v1::ContainerStatus>>,
    ips: HashMap<String, Vec<String>>,
}

impl Observer {
    /// For the pod of `uid`.
    pub fn new(cri: Cri, uid: &str, host_network: bool) -> Self {
        Self { cri, uid: uid.to_owned(), host_network, containers: HashMap::new(), ips: HashMap::new() }
    }

    /// Has all of a container asked for again: what it uses changed, not its state.
    pub fn forget(&mut self, id: &str) {
        self.containers.remove(id);
    }

    /// What containerd says now.
    pub async fn observe(&mut self) -> Result<Observed, CriError> {
        let (sandboxes, containers) =
            tokio::try_join!(self.cri.sandboxes(Some(&self.uid)), self.cri.containers(Some(&self.uid)))?;
        let mut observed = Observed::default();
        for sandbox in sandboxes {
            let ready = sandbox.state == v1::PodSandboxState::SandboxReady as i32;
            let ips = if ready && !self.host_network { self.addresses(&sandbox.id).await? } else { Vec::new() };
            observed.sandboxes.push(Sandbox {
                attempt: sandbox.metadata.map(|metadata| metadata.attempt).unwrap_or_default(),
                id: sandbox.id,
                ready,
                created_at: sandbox.created_at,
                ips,
            });
        }
        for container in &containers {
            if let Some(status) = self.status(container).await? {
                observed.containers.push(seen(container, status));
            }
        }
        observed.sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.attempt, sandbox.created_at)));
        observed.containers.sort_by_key(|seen| std::cmp::Reverse((seen.created_at, seen.attempt)));
        self.containers.retain(|id, _| containers.iter().any(|container| container.id == *id));
        self.ips.retain(|id, _| observed.sandboxes.iter().any(|sandbox| sandbox.id == *id));
        Ok(observed)
    }

    async fn addresses(&mut self, id: &str) -> Result<Vec<String>, CriError> {
        if let Some(ips) = self.ips.get(id) {
            return Ok(ips.clone());
        }
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let status = match self.cri.pod_sandbox_status(request).await {
            Ok(answer) => answer.status.unwrap_or_default(),
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let network = status.network.unwrap_or_default();
        let more = network.additional_ips.into_iter().map(|ip| ip.ip);
        let ips: Vec<String> = std::iter::once(network.ip).chain(more).filter(|ip| !ip.is_empty()).collect();
        if !ips.is_empty() {
            self.ips.insert(id.to_owned(), ips.clone());
        }
        Ok(ips)
    }

    /// What containerd says of a container; asked anew when its state is another.
    async fn status(&mut self, container: &v1::Container) -> Result<Option<Arc<v1::ContainerStatus>>, CriError> {
        if let Some(known) = self.containers.get(&container.id).filter(|known| known.state == container.state) {
            return Ok(Some(known.clone()));
        }
        let request = v1::ContainerStatusRequest { container_id: container.id.clone(), verbose: false };
        let status = match self.cri.container_status(request).await {
            Ok(answer) => Arc::new(answer.status.unwrap_or_default()),
            // Removed in between.
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        self.containers.insert(container.id.clone(), status.clone());
        Ok(Some(status))
    }
}

fn seen(container: &v1::Container, status: Arc<v1::ContainerStatus>) -> Seen {
    let metadata = container.metadata.clone().unwrap_or_default();
    Seen {
        id: container.id.clone(),
        name: metadata.name,
        attempt: metadata.attempt,
        state: v1::ContainerState::try_from(status.state).unwrap_or(v1::ContainerState::ContainerUnknown),
        created_at: container.created_at,
        sandbox: container.pod_sandbox_id.clone(),
        status,
    }
}
