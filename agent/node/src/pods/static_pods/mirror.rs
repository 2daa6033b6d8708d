//! Owns mirror pods: what the API shows of static pods. [`Mirrors`] makes, replaces and removes them,
//! and knows which is whose; the static pods themselves run on whatever becomes of their mirrors.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{CONFIG_MIRROR, StaticPods, annotation, is_mirror};
use crate::context::Context;
use crate::events::{Kind, Recorder};

/// Waits between tries of what the API refuses, doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// Namespace and name.
type Name = (String, String);

/// The mirror of a static pod as the API last showed it.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Its namespace, that of the static pod.
    pub namespace: String,
    /// Its name, that of the static pod.
    pub name: String,
    /// The UID that the API gave it, by which its status is guarded; not the static pod's.
    pub uid: String,
    /// All of it, with the status that was stored last.
    pub pod: Arc<Pod>,
}

/// What is to be done about one mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// The static pod of this UID has none.
    Create(String),
    /// It shows what is not, or not any more.
    Delete { name: Name, uid: String },
}

impl Step {
    fn key(&self) -> &str {
        match self {
            Self::Create(uid) | Self::Delete { uid, .. } => uid,
        }
    }
}

/// The mirrors of this node's static pods.
pub struct Mirrors {
    client: kube::Client,
    events: Recorder,
    node: watch::Receiver<Option<Arc<Node>>>,
    statics: watch::Receiver<StaticPods>,
    seen: Mutex<Seen>,
    wake: Notify,
}

#[derive(Default)]
struct Seen {
    /// All mirrors of this node; nothing until they were listed once.
    mirrors: Option<BTreeMap<Name, Arc<Pod>>>,
    /// What did not work, by the step's key.
    failed: HashMap<String, Failure>,
}

struct Failure {
    next: Instant,
    wait: Duration,
}

impl Mirrors {
    /// Knows none yet. `statics` is what [`super::start`] gave.
    pub fn new(context: &Context, statics: watch::Receiver<StaticPods>) -> Arc<Self> {
        Self::with(context.client.clone(), context.events.clone(), context.node.subscribe(), statics)
    }

    fn with(
        client: kube::Client,
        events: Recorder,
        node: watch::Receiver<Option<Arc<Node>>>,
        statics: watch::Receiver<StaticPods>,
    ) -> Arc<Self> {
        Arc::new(Self { client, events, node, statics, seen: Mutex::default(), wake: Notify::new() })
    }

    /// The API listed all pods of this node. Others than mirrors are passed over. Until this was called
    /// once nothing is made or removed.
    pub fn listed<'a>(&self, pods: impl IntoIterator<Item = &'a Arc<Pod>>) {
        let mirrors = pods.into_iter().filter(|pod| is_mirror(pod)).map(|pod| (name(pod), pod.clone())).collect();
        self.lock().mirrors = Some(mirrors);
        self.wake.notify_one();
    }

    /// The API showed a pod of this node, new or changed. Others than mirrors are passed over.
    pub fn saw(&self, pod: &Arc<Pod>) {
        if is_mirror(pod)
            && let Some(mirrors) = &mut self.lock().mirrors
        {
            mirrors.insert(name(pod), pod.clone());
            self.wake.notify_one();
        }
    }

    /// The API told that a pod has gone. Others than mirrors are passed over.
    pub fn lost(&self, pod: &Pod) {
        if let Some(mirrors) = &mut self.lock().mirrors
            && mirrors.get(&name(pod)).is_some_and(|known| known.metadata.uid == pod.metadata.uid)
        {
            mirrors.remove(&name(pod));
            self.wake.notify_one();
        }
    }

    /// The mirror of the static pod of that UID, when there is one that shows this very pod.
    pub fn mirror_of(&self, uid: &str) -> Option<Mirror> {
        let (namespace, name) = self.statics.borrow().get(uid).map(|pod| name(pod))?;
        let seen = self.lock();
        let pod = seen.mirrors.as_ref()?.get(&(namespace.clone(), name.clone()))?;
        let is_its = annotation(pod, CONFIG_MIRROR) == Some(uid) && pod.metadata.deletion_timestamp.is_none();
        let uid = pod.metadata.uid.clone().filter(|_| is_its)?;
        Some(Mirror { namespace, name, uid, pod: pod.clone() })
    }

    /// Keeps the mirrors as they should be, until nobody reads the folder any more.
    pub async fn run(self: Arc<Self>) {
        let (mut statics, mut node) = (self.statics.clone(), self.node.clone());
        loop {
            let owner = node.borrow_and_update().as_deref().and_then(owner);
            let wanted = statics.borrow_and_update().clone();
            let next = match owner {
                Some(owner) => self.reconcile(&wanted, &owner).await,
                None => None,
            };
            tokio::select! {
                changed = statics.changed() => if changed.is_err() { return },
                changed = node.changed() => if changed.is_err() { return },
                () = self.wake.notified() => {}
                () = at(next) => {}
            }
        }
    }

    /// Does what can be done now; when to look again at what failed.
    async fn reconcile(&self, wanted: &StaticPods, owner: &OwnerReference) -> Option<Instant> {
        let steps = self.lock().mirrors.as_ref().map(|mirrors| decide(wanted, mirrors)).unwrap_or_default();
        self.lock().failed.retain(|key, _| steps.iter().any(|step| step.key() == key));
        let now = Instant::now();
        for step in steps {
            if self.lock().failed.get(step.key()).is_some_and(|failure| failure.next > now) {
                continue;
            }
            match self.perform(&step, wanted, owner).await {
                Ok(()) => drop(self.lock().failed.remove(step.key())),
                Err(error) => self.failed(&step, wanted, &error),
            }
        }
        self.lock().failed.values().map(|failure| failure.next).min()
    }

    async fn perform(&self, step: &Step, wanted: &StaticPods, owner: &OwnerReference) -> Result<(), kube::Error> {
        match step {
            Step::Create(uid) => {
                let Some(pod) = wanted.get(uid) else { return Ok(()) };
                let api = Api::<Pod>::namespaced(self.client.clone(), &name(pod).0);
                let made = api.create(&PostParams::default(), &mirror(pod, owner)).await?;
                tracing::info!(pod = made.metadata.name.as_deref().unwrap_or_default(), "made a mirror pod");
                self.saw(&Arc::new(made));
                Ok(())
            }
            Step::Delete { name: (namespace, name), uid } => {
                let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: None };
                let at_once =
                    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
                let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
                match api.delete(name, &at_once).await {
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                    answer => drop(answer?),
                }
                self.removed(&(namespace.clone(), name.clone()), uid);
                Ok(())
            }
        }
    }

    fn removed(&self, name: &Name, uid: &str) {
        if let Some(mirrors) = &mut self.lock().mirrors
            && mirrors.get(name).is_some_and(|known| known.metadata.uid.as_deref() == Some(uid))
        {
            mirrors.remove(name);
            // What takes its place is made next.
            self.wake.notify_one();
        }
    }

    fn failed(&self, step: &Step, wanted: &StaticPods, error: &kube::Error) {
        tracing::warn!(?step, "cannot bring a mirror pod up to date: {error}");
        let mut seen = self.lock();
        let known = seen.failed.get(step.key()).map(|failure| failure.wait);
        let wait = known.map_or(FIRST_WAIT, |wait| (wait * 2).min(LONGEST_WAIT));
        seen.failed.insert(step.key().to_owned(), Failure { next: Instant::now() + wait, wait });
        drop(seen);
        // A refusal is told; that the API is away is known otherwise.
        let refused = matches!(error, kube::Error::Api(status) if (400..500).contains(&status.code));
        if let (Step::Create(uid), true) = (step, refused && known.is_none())
            && let Some(pod) = wanted.get(uid)
        {
            let message = format!("Cannot make the mirror pod of a static pod: {error}");
            self.events.pod(pod, None, Kind::Warning, "FailedMirrorPod", message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done so that each static pod has one mirror that shows it as it is, and nobody else has.
fn decide(wanted: &StaticPods, mirrors: &BTreeMap<Name, Arc<Pod>>) -> Vec<Step> {
    let by_name: BTreeMap<Name, &String> = wanted.iter().map(|(uid, pod)| (name(pod), uid)).collect();
    let mut steps = Vec::new();
    for (name, mirror) in mirrors {
        let shows = annotation(mirror, CONFIG_MIRROR);
        let right = by_name.get(name).is_some_and(|uid| shows == Some(uid));
        if !right || mirror.metadata.deletion_timestamp.is_some() {
            let uid = mirror.metadata.uid.clone().unwrap_or_default();
            steps.push(Step::Delete { name: name.clone(), uid });
        }
    }
    let missing = by_name.into_iter().filter(|(name, _)| !mirrors.contains_key(name));
    steps.extend(missing.map(|(_, uid)| Step::Create(uid.clone())));
    steps
}

/// The mirror of a static pod, to be made.
fn mirror(pod: &Pod, owner: &OwnerReference) -> Pod {
    let mut mirror = pod.clone();
    let hash = mirror.metadata.uid.take().unwrap_or_default();
    mirror.metadata.annotations.get_or_insert_default().insert(CONFIG_MIRROR.into(), hash);
    mirror.metadata.owner_references = Some(vec![owner.clone()]);
    mirror.metadata.resource_version = None;
    mirror.status = None;
    if let Some(spec) = &mut mirror.spec {
        spec.automount_service_account_token = Some(false);
        // The API finds it from the class, and refuses any other.
        spec.priority = None;
    }
    mirror
}

/// The node as the owner of mirrors, once the API has it.
fn owner(node: &Node) -> Option<OwnerReference> {
    Some(OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.metadata.name.clone()?,
        uid: node.metadata.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: None,
    })
}

fn name(pod: &Pod) -> Name {
    (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
}

async fn at(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
