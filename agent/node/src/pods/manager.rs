//! Owns the workers: one is started for each pod that there is, and ends when all of it is gone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::relist::Owners;
use super::reporter::Reporter;
use super::sources::Change;
use super::static_pods::{Mirrors, StaticPods, mirrored};
use super::worker::{Desired, Worker};
use super::{orphans, relist, sources};
use crate::context::Context;
use crate::eviction::Pressure;
use crate::images::Images;
use crate::node::Control;
use crate::probes::Probes;
use crate::volumes::Volumes;

/// Between two attempts to remove what is left of pods that are gone, at first and at the most.
const SWEEP: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// What every worker is given.
pub struct Parts {
    /// The node.
    pub context: Arc<Context>,
    /// Images.
    pub images: Images,
    /// Volumes.
    pub volumes: Volumes,
    /// Probes.
    pub probes: Probes,
    /// The writer of statuses.
    pub reporter: Reporter,
    /// Which static pod has which mirror.
    pub mirrors: Arc<Mirrors>,
    /// What the node is short of.
    pub pressure: watch::Receiver<Pressure>,
    /// Whether the host shuts down.
    pub control: Arc<Control>,
    /// Which container is whose.
    pub(crate) owners: Arc<Owners>,
    /// How many sandboxes and containers containerd makes at once: more would only make each of them wait
    /// for the others. Held for nothing else.
    pub(crate) starts: Semaphore,
}

impl Parts {
    /// The parts over `context`.
    pub fn new(
        context: Arc<Context>,
        mirrors: Arc<Mirrors>,
        pressure: watch::Receiver<Pressure>,
        control: Arc<Control>,
    ) -> Self {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            images: Images::new(context.clone()),
            volumes: Volumes::new(context.clone()),
            probes: Probes::new(context.clone()),
            reporter: Reporter::new(context.client.clone()),
            mirrors,
            pressure,
            control,
            owners: Arc::default(),
            starts: Semaphore::new(processors * 2),
            context,
        }
    }
}

/// The pods that there are, and their workers.
struct Manager {
    parts: Arc<Parts>,
    workers: HashMap<String, watch::Sender<Desired>>,
    tasks: JoinSet<String>,
    /// Pods that came again while their worker ended, and static pods while a former one of their name does.
    again: HashMap<String, Arc<Pod>>,
    statics: HashSet<String>,
    listed: bool,
    swept: bool,
}

/// Runs the pods of this node until the program ends.
pub async fn run(parts: Arc<Parts>, statics: watch::Receiver<StaticPods>) {
    let (sender, mut changes) = mpsc::channel(256);
    let context = &parts.context;
    tokio::spawn(relist::run(context.clone(), parts.owners.clone()));
    tokio::spawn(sources::api(context.client.clone(), context.settings.name.clone(), sender.clone()));
    tokio::spawn(sources::files(statics, sender));
    let mut manager = Manager {
        parts,
        workers: HashMap::new(),
        tasks: JoinSet::new(),
        again: HashMap::new(),
        statics: HashSet::new(),
        listed: false,
        swept: false,
    };
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Some(change) => manager.take(change),
                None => return,
            },
            Some(ended) = manager.tasks.join_next() => match ended {
                Ok(uid) => manager.ended(&uid),
                Err(error) => tracing::error!("a pod's worker failed: {error}"),
            },
        }
    }
}

impl Manager {
    fn take(&mut self, change: Change) {
        match change {
            Change::Set(pod) => {
                self.parts.mirrors.saw(&pod);
                self.set(pod);
            }
            Change::Gone(pod) => {
                self.parts.mirrors.lost(&pod);
                self.gone(pod.metadata.uid.as_deref().unwrap_or_default());
            }
            Change::Listed(mut pods) => {
                self.parts.mirrors.listed(&pods);
                let uids: HashSet<&str> = pods.iter().filter_map(|pod| pod.metadata.uid.as_deref()).collect();
                let lost: Vec<String> =
                    self.workers.keys().filter(|uid| !self.statics.contains(*uid)).cloned().collect();
                for uid in lost.iter().filter(|uid| !uids.contains(uid.as_str())) {
                    self.gone(uid);
                }
                // Who came first has the first claim to what there is.
                pods.sort_by(|one, other| one.metadata.creation_timestamp.cmp(&other.metadata.creation_timestamp));
                pods.into_iter().for_each(|pod| self.set(pod));
                self.listed = true;
                self.sweep();
            }
            Change::Static(pods) => {
                let gone: Vec<String> = self.statics.iter().filter(|uid| !pods.contains_key(*uid)).cloned().collect();
                for uid in gone {
                    self.statics.remove(&uid);
                    self.gone(&uid);
                }
                for (uid, pod) in pods {
                    self.statics.insert(uid);
                    self.set(pod);
                }
            }
        }
    }

    fn set(&mut self, pod: Arc<Pod>) {
        if let Some(shows) = mirrored(&pod) {
            // It may lack what its static pod has said.
            self.parts.context.pods.wake(shows);
            return;
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if let Some(worker) = self.workers.get(&uid) {
            if worker.borrow().gone {
                self.again.insert(uid, pod);
            } else {
                worker.send_replace(Desired { pod, gone: false });
            }
            return;
        }
        let is_static = self.statics.contains(&uid);
        if is_static && self.workers.values().any(|worker| goes_before(&worker.borrow(), &pod)) {
            self.again.insert(uid, pod);
            return;
        }
        let (sender, receiver) = watch::channel(Desired { pod, gone: false });
        let mut worker = Worker::new(self.parts.clone(), receiver, Arc::new(Notify::new()), is_static);
        worker.enter();
        worker.admit();
        self.workers.insert(uid.clone(), sender);
        self.tasks.spawn(async move {
            worker.run().await;
            uid
        });
    }

    fn gone(&mut self, uid: &str) {
        self.again.remove(uid);
        if let Some(worker) = self.workers.get(uid) {
            worker.send_modify(|desired| desired.gone = true);
        }
    }

    fn ended(&mut self, uid: &str) {
        self.workers.remove(uid);
        // Who waits for somebody else still goes on waiting.
        for (_, pod) in std::mem::take(&mut self.again) {
            self.set(pod);
        }
    }

    /// Once it is known which pods there are, what is left of others is removed.
    fn sweep(&mut self) {
        if !self.listed || std::mem::replace(&mut self.swept, true) {
            return;
        }
        let wanted: HashSet<String> = self.workers.keys().chain(self.again.keys()).cloned().collect();
        let parts = self.parts.clone();
        tokio::spawn(async move {
            let mut pause = SWEEP.0;
            while !swept(&parts, &wanted).await {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SWEEP.1);
            }
        });
    }
}

/// Removes what is left of pods that are not `wanted`; false when something of them may still be there.
async fn swept(parts: &Parts, wanted: &HashSet<String>) -> bool {
    let orphans = match orphans::find(parts, wanted).await {
        Ok(orphans) => orphans,
        Err(error) => {
            tracing::warn!("cannot look for pods that are gone: {error}");
            return false;
        }
    };
    let mut all = true;
    for uid in orphans {
        // One that came since is not an orphan.
        if parts.context.pods.by_uid(&uid).is_some() {
            continue;
        }
        if let Err(error) = orphans::remove(parts, &uid).await {
            tracing::warn!(uid, "cannot remove what is left of a pod: {error:#}");
            all = false;
        }
    }
    all
}

/// Whether a static pod must wait for another one of its name, which its file described before: both would
/// have the same ports and folders of the host.
fn goes_before(former: &Desired, pod: &Pod) -> bool {
    let (before, now) = (&former.pod.metadata, &pod.metadata);
    former.gone && (&before.namespace, &before.name) == (&now.namespace, &now.name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_static_pod_waits_for_the_former_one_of_its_name() {
        let pod = |name: &str, uid: &str| -> Pod {
            serde_json::from_value(json!({ "metadata": { "namespace": "ns", "name": name, "uid": uid } })).unwrap()
        };
        let former = |gone| Desired { pod: Arc::new(pod("etcd-node", "1")), gone };
        assert!(goes_before(&former(true), &pod("etcd-node", "2")));
        assert!(!goes_before(&former(true), &pod("other-node", "2")));
        assert!(!goes_before(&former(false), &pod("etcd-node", "2")));
    }
}
