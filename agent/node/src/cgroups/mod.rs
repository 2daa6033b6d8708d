//! Owns the cgroups that pods live in: the QoS tree, one cgroup a pod with its limits; by systemd or
//! by hand, v1 or v2.
//!
//! What cannot be limited here (a controller that is not mounted, or refuses) is said in the log and
//! does not keep a pod from running: the OCI runtime makes what is missing, and limits containers.

pub mod hierarchy;
mod ledger;
pub mod limits;
pub mod names;
mod systemd;
mod tree;
mod usage;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use crate::config::{CgroupDriver, Settings};
use crate::node::capacity::Capacity;
use crate::spec::requirements::requested;
use crate::spec::{self, Qos};
use hierarchy::Hierarchy;
use ledger::{Entry, Ledger};
use limits::Limits;
use names::Names;
use systemd::Systemd;

/// How long what was killed may take to be gone.
const PATIENCE: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Why a cgroup cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} cgroup {path}")]
pub struct CgroupError {
    /// What was being done.
    pub action: &'static str,
    /// The cgroup.
    pub path: String,
    /// Why.
    #[source]
    pub source: std::io::Error,
}

impl From<tree::Failure> for CgroupError {
    fn from((action, path, source): tree::Failure) -> Self {
        Self { action, path: path.display().to_string(), source }
    }
}

/// The cgroups of pods. Clones are the same.
#[derive(Debug, Clone)]
pub struct Cgroups {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    names: Names,
    hierarchy: Hierarchy,
    /// The service manager, where it makes cgroups.
    systemd: Option<Systemd>,
    /// What all pods together may use.
    all: Limits,
    /// How many processes and threads one pod may have.
    pids: Option<i64>,
    /// What was applied to which pod.
    pods: std::sync::Mutex<Ledger>,
    /// The shares that burstable pods have together, as last written.
    burstable: tokio::sync::Mutex<u64>,
}

impl Cgroups {
    /// As the settings say.
    pub fn new(settings: &Settings) -> Self {
        // Unlike what is announced as allocatable, this leaves what eviction wants to keep free to pods:
        // they are evicted before the kernel kills in here.
        let allocatable = Capacity::read(&settings.root).without(&settings.reserved);
        let all = Limits {
            shares: limits::shares(allocatable.cpu_milli),
            quota: None,
            memory: Some(allocatable.memory).filter(|memory| *memory > 0),
            // Who forks without end must leave processes for the host, and for other pods.
            pids: allocatable.pids.map(|pids| pids / 10 * 9),
        };
        Self {
            inner: Arc::new(Inner {
                names: Names::new(settings.cgroup_driver, &settings.cgroup_root),
                hierarchy: Hierarchy::mounted(),
                systemd: (settings.cgroup_driver == CgroupDriver::Systemd).then(Systemd::default),
                all,
                pids: Some(allocatable.pids.map_or(i64::MAX, |pids| pids / 4).min(settings.pod_pids_limit.into())),
                pods: std::sync::Mutex::default(),
                burstable: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// Makes what pods' cgroups are below, with node-wide limits. Of burstable pods that run on from before
    /// this agent started, the share stays as it is until all of them are known again.
    pub async fn ensure_tree(&self) -> Result<(), CgroupError> {
        self.write(self.inner.names.tier(Qos::Guaranteed), self.inner.all, false).await?;
        self.write(self.inner.names.tier(Qos::BestEffort), Limits::tier(limits::MIN_SHARES), false).await?;
        let before = self.of_tier(Qos::Burstable);
        self.pods().found(before);
        self.share(true).await
    }

    /// Takes in a pod that runs on from before this agent started, and changes nothing of its cgroup: its
    /// limits are written when they are next applied. Does nothing about pods that are known.
    pub async fn adopt(&self, pod: &Pod) -> Result<(), CgroupError> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let qos = spec::qos(pod);
        let adopted = self.pods().adopt(uid, Entry { qos, limits: None, cpu: requested(pod, "cpu").milli() });
        if adopted && qos == Qos::Burstable { self.share(false).await } else { Ok(()) }
    }

    /// What the CRI is given as `cgroup_parent` of the pod.
    pub fn parent(&self, pod: &Pod) -> String {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.inner.names.parent(&self.inner.names.pod(spec::qos(pod), uid))
    }

    /// Makes the pod's cgroup, or changes its limits to what the pod asks for now. Does nothing when that
    /// was done before. Fails when the kernel refuses a change; a new cgroup it refuses is left to the
    /// OCI runtime.
    pub async fn apply(&self, pod: &Pod) -> Result<(), CgroupError> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let qos = spec::qos(pod);
        let cpu = requested(pod, "cpu").milli();
        let limits = Limits::of(pod, qos, self.inner.pids);
        let wanted = Entry { qos, limits: Some(limits), cpu };
        let known = self.pods().get(&uid);
        if known == Some(wanted) {
            return Ok(());
        }
        self.write(self.inner.names.pod(qos, &uid), limits, known.is_some()).await?;
        self.pods().insert(&uid, wanted);
        if qos == Qos::Burstable { self.share(false).await } else { Ok(()) }
    }

    /// Kills what is left in the pod's cgroup and removes it. All QoS classes are looked through.
    pub async fn remove(&self, uid: &str) -> Result<(), CgroupError> {
        let counted = self.pods().remove(uid);
        let removed = self.remove_pod(uid).await;
        if counted {
            self.share(false).await?;
        }
        removed
    }

    async fn remove_pod(&self, uid: &str) -> Result<(), CgroupError> {
        for qos in Qos::ALL {
            let steps = self.inner.names.pod(qos, uid);
            let path = self.inner.names.path(&steps);
            if !tree::exists(&self.inner.hierarchy, &path) {
                continue;
            }
            if let Some(systemd) = &self.inner.systemd {
                tree::kill(&self.inner.hierarchy, &path);
                let name = names::slice(&steps);
                let stopped = systemd.stop(&name).await;
                stopped.map_err(|error| refused("stop", &name, error))?;
            }
            self.remove_folders(path).await?;
        }
        Ok(())
    }

    /// Removes the cgroups of all pods, then what they are below: for a host that is a node no more.
    pub async fn remove_tree(&self) -> Result<(), CgroupError> {
        for uid in self.known() {
            self.remove(&uid).await?;
        }
        let steps = self.inner.names.tier(Qos::Guaranteed);
        if let Some(systemd) = &self.inner.systemd {
            let name = names::slice(&steps);
            systemd.stop(&name).await.map_err(|error| refused("stop", &name, error))?;
        }
        // Nobody is killed here: what still runs is no pod's.
        let inner = self.inner.clone();
        let removed = blocking(move || tree::remove(&inner.hierarchy, &inner.names.path(&steps)));
        removed.await.map_err(CgroupError::from)
    }

    async fn remove_folders(&self, path: PathBuf) -> Result<(), CgroupError> {
        let mut left = PATIENCE;
        loop {
            let (inner, path) = (self.inner.clone(), path.clone());
            let removed = blocking(move || {
                let removed = tree::remove(&inner.hierarchy, &path);
                if removed.is_err() {
                    tree::kill(&inner.hierarchy, &path);
                }
                removed
            });
            match removed.await {
                Ok(()) => return Ok(()),
                Err(failure) if left == 0 => return Err(failure.into()),
                Err(_) => left -= 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Brings the share of all burstable pods in line with what they request together, once that is known.
    async fn share(&self, anew: bool) -> Result<(), CgroupError> {
        let mut written = self.inner.burstable.lock().await;
        let Some(requested) = self.pods().burstable() else { return Ok(()) };
        let shares = limits::shares(requested);
        if anew || *written != shares {
            self.write(self.inner.names.tier(Qos::Burstable), Limits::tier(shares), false).await?;
            *written = shares;
        }
        Ok(())
    }

    async fn write(&self, steps: Vec<String>, limits: Limits, change: bool) -> Result<(), CgroupError> {
        if let Some(systemd) = &self.inner.systemd {
            let name = names::slice(&steps);
            let applied = systemd.apply(&name, &limits, self.inner.hierarchy.is_unified()).await;
            return lenient(applied.map_err(|error| refused("limit", &name, error)), change);
        }
        let inner = self.inner.clone();
        let written = blocking(move || {
            let path = inner.names.path(&steps);
            tree::make(&inner.hierarchy, &path)?;
            tree::limit(&inner.hierarchy, &path, &limits)
        });
        lenient(written.await.map_err(CgroupError::from), change)
    }

    fn pods(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.inner.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A limit that cannot be changed is an error; one that a new cgroup lacks is a line in the log.
fn lenient(result: Result<(), CgroupError>, change: bool) -> Result<(), CgroupError> {
    match result {
        Err(error) if !change => {
            tracing::warn!("{error}: {}; what runs there is limited by its containers only", error.source);
            Ok(())
        }
        result => result,
    }
}

fn refused(action: &'static str, name: &str, error: zbus::Error) -> CgroupError {
    CgroupError { action, path: name.to_owned(), source: std::io::Error::other(error) }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, tree::Failure> + Send + 'static,
) -> Result<T, tree::Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(("change", PathBuf::new(), std::io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::hierarchy::Mount;
    use super::*;

    fn cgroups(root: &Path) -> Cgroups {
        let mount = Mount { controllers: vec!["cpu".to_owned()], path: root.to_owned() };
        Cgroups {
            inner: Arc::new(Inner {
                names: Names::new(CgroupDriver::Cgroupfs, "kubepods"),
                hierarchy: Hierarchy::Split(vec![mount]),
                systemd: None,
                all: Limits::tier(1024),
                pids: None,
                pods: std::sync::Mutex::default(),
                burstable: tokio::sync::Mutex::default(),
            }),
        }
    }

    fn pod(uid: &str, cpu: &str) -> Pod {
        let containers = json!([{ "name": "a", "resources": { "requests": { "cpu": cpu } } }]);
        serde_json::from_value(json!({ "metadata": { "uid": uid }, "spec": { "containers": containers } })).unwrap()
    }

    #[tokio::test]
    async fn pods_that_run_on_keep_their_share() {
        let root = tempfile::tempdir().unwrap();
        let tier = root.path().join("kubepods/burstable");
        for uid in ["a", "b"] {
            std::fs::create_dir_all(tier.join(format!("pod{uid}"))).unwrap();
        }
        std::fs::write(tier.join("cpu.shares"), "4000").unwrap();
        let shares = || std::fs::read_to_string(tier.join("cpu.shares")).unwrap();
        let cgroups = cgroups(root.path());
        cgroups.ensure_tree().await.unwrap();
        assert_eq!(shares(), "4000");
        cgroups.adopt(&pod("a", "1")).await.unwrap();
        assert_eq!(shares(), "4000", "what the other one requests is not known");
        cgroups.apply(&pod("new", "250m")).await.unwrap();
        assert_eq!(shares(), "4000");
        cgroups.adopt(&pod("b", "250m")).await.unwrap();
        assert_eq!(shares(), "1536");
        assert!(!tier.join("poda/cpu.shares").exists(), "nothing of the pod's own is changed");
        cgroups.apply(&pod("a", "1")).await.unwrap();
        assert_eq!(std::fs::read_to_string(tier.join("poda/cpu.shares")).unwrap(), "1024");
    }

    #[tokio::test]
    async fn without_pods_the_share_is_the_least() {
        let root = tempfile::tempdir().unwrap();
        let cgroups = cgroups(root.path());
        cgroups.ensure_tree().await.unwrap();
        let shares = std::fs::read_to_string(root.path().join("kubepods/burstable/cpu.shares")).unwrap();
        assert_eq!(shares, "2");
    }
}
