//! Owns what wakes the pods' workers when something happened in containerd: its events, and a look at
//! everything now and then, for an event that got lost.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use containerd_client::services::v1::SubscribeRequest;
use containerd_client::services::v1::events_client::EventsClient;
use tokio::sync::Notify;

use super::ghosts::{self, Ghosts};
use crate::context::Context;
use crate::cri::{CriError, labels, v1};

/// containerd's namespace of all that the CRI makes.
pub(super) const NAMESPACE: &str = "k8s.io";
/// Between two looks at everything.
const RELIST: Duration = Duration::from_secs(20);
/// Between two attempts to reach containerd.
const RETRY: Duration = Duration::from_secs(1);
/// By when containerd has heard what we want to be told.
const HEARD: Duration = Duration::from_millis(500);
/// Milliseconds between looks whether the CRI knows of an end; it learns of it by the same event as we do,
/// and says so once it has cleaned up.
const LOOKS: [u64; 8] = [10, 20, 40, 80, 160, 320, 640, 1280];
/// Tells the state of a container from that of a sandbox.
const CONTAINER: i32 = 16;

/// Which pod a container or sandbox belongs to, as far as is known.
#[derive(Debug, Default)]
pub struct Owners(Mutex<HashMap<String, String>>);

impl Owners {
    /// A container or sandbox belongs to the pod of `uid`.
    pub fn add(&self, id: &str, uid: &str) {
        self.lock().insert(id.to_owned(), uid.to_owned());
    }

    /// Forgets all of a pod.
    pub fn remove(&self, uid: &str) {
        self.lock().retain(|_, owner| owner != uid);
    }

    fn get(&self, id: &str) -> Option<String> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes workers until the program ends.
pub async fn run(context: Arc<Context>, owners: Arc<Owners>) {
    let lost = Notify::new();
    tokio::join!(follow(&context, &owners, &lost), relist(&context, &owners, &lost));
}

/// Follows containerd's own events: containerd 1.6 has none in the CRI.
async fn follow(context: &Arc<Context>, owners: &Arc<Owners>, lost: &Notify) {
    loop {
        if let Err(error) = subscribe(context, owners, lost).await {
            tracing::debug!("containerd's events ended: {error}");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn subscribe(
    context: &Arc<Context>,
    owners: &Arc<Owners>,
    lost: &Notify,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let channel = containerd_client::connect(&context.settings.containerd).await?;
    let topics = ["/tasks/exit", "/tasks/oom"].map(|topic| format!("topic==\"{topic}\",namespace=={NAMESPACE}"));
    let mut client = EventsClient::new(channel);
    let subscribing = client.subscribe(SubscribeRequest { filters: topics.to_vec() });
    tokio::pin!(subscribing);
    // The answer begins with the first event. What happened before we are heard is seen by looking.
    let answer = tokio::time::timeout(HEARD, &mut subscribing).await;
    lost.notify_one();
    let mut events = match answer {
        Ok(answer) => answer?,
        Err(_) => subscribing.await?,
    }
    .into_inner();
    while let Some(envelope) = events.message().await? {
        let Some(event) = envelope.event else { continue };
        // Exits of exec'd processes have the container's id too, and another of their own.
        match ids(&event) {
            Some((container, Some(process))) if container == process => {
                tokio::spawn(ended(context.clone(), owners.clone(), container));
            }
            Some((container, None)) => wake(context, owners, &container),
            _ => {}
        }
    }
    Ok(())
}

fn wake(context: &Context, owners: &Owners, id: &str) {
    if let Some(uid) = owners.get(id) {
        context.pods.wake(&uid);
    }
}

/// Wakes the owner of what has ended once the CRI knows of it: a worker that looked before would see it
/// running, and be told no more. Who ends at once may have no owner yet, either.
async fn ended(context: Arc<Context>, owners: Arc<Owners>, id: String) {
    for wait in LOOKS {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if owners.get(&id).is_some() && !alive(&context, &id).await.unwrap_or(true) {
            break;
        }
    }
    wake(&context, &owners, &id);
}

/// Whether the CRI says that a container, or a sandbox, runs.
async fn alive(context: &Context, id: &str) -> Result<bool, CriError> {
    let filter = v1::ContainerFilter { id: id.to_owned(), ..v1::ContainerFilter::default() };
    let containers = context.cri.list_containers(v1::ListContainersRequest { filter: Some(filter) }).await?.containers;
    if containers.iter().any(|container| container.id == id) {
        return Ok(containers.iter().any(|container| container.state == v1::ContainerState::ContainerRunning as i32));
    }
    let filter = v1::PodSandboxFilter { id: id.to_owned(), ..v1::PodSandboxFilter::default() };
    let sandboxes = context.cri.list_pod_sandbox(v1::ListPodSandboxRequest { filter: Some(filter) }).await?.items;
    Ok(sandboxes.iter().any(|sandbox| sandbox.state == v1::PodSandboxState::SandboxReady as i32))
}

fn ids(event: &prost_types::Any) -> Option<(String, Option<String>)> {
    use containerd_client::events::{TaskExit, TaskOom};
    use prost::Message;
    match event.type_url.rsplit('.').next()? {
        "TaskExit" => TaskExit::decode(&*event.value).ok().map(|exit| (exit.container_id, Some(exit.id))),
        "TaskOOM" => TaskOom::decode(&*event.value).ok().map(|oom| (oom.container_id, None)),
        _ => None,
    }
}

/// How the containers and sandboxes of each pod are.
type States = HashMap<String, Vec<(String, i32)>>;

/// Looks at everything now and then, and wakes the workers of pods that changed.
async fn relist(context: &Context, owners: &Owners, lost: &Notify) {
    let mut before = States::new();
    let mut ghosts = Ghosts::default();
    loop {
        match all(context, owners).await {
            Ok(now) => {
                if ghosts.expected() {
                    ghosts.look(context, running(&now)).await;
                }
                for (uid, state) in &now {
                    if before.get(uid) != Some(state) {
                        context.pods.wake(uid);
                    }
                }
                for uid in before.keys().filter(|uid| !now.contains_key(*uid)) {
                    context.pods.wake(uid);
                }
                before = now;
            }
            Err(error) => tracing::warn!("cannot look at the containers: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(if ghosts.expected() { ghosts::APART } else { RELIST }) => {}
            () = lost.notified() => ghosts.expect(),
        }
    }
}

/// What runs, containers and sandboxes.
fn running(states: &States) -> HashSet<String> {
    let runs = [v1::ContainerState::ContainerRunning as i32 + CONTAINER, v1::PodSandboxState::SandboxReady as i32];
    states.values().flatten().filter(|(_, state)| runs.contains(state)).map(|(id, _)| id.clone()).collect()
}

/// Of each pod what there is and how it is, in a form that can be compared.
async fn all(context: &Context, owners: &Owners) -> Result<States, CriError> {
    let (sandboxes, containers) = tokio::try_join!(context.cri.sandboxes(None), context.cri.containers(None))?;
    let sandboxes = sandboxes.into_iter().map(|sandbox| (sandbox.labels, sandbox.id, sandbox.state));
    let containers =
        containers.into_iter().map(|container| (container.labels, container.id, container.state + CONTAINER));
    let mut pods = States::new();
    for (mut labels, id, state) in sandboxes.chain(containers) {
        if let Some(uid) = labels.remove(labels::POD_UID) {
            owners.add(&id, &uid);
            pods.entry(uid).or_default().push((id, state));
        }
    }
    pods.values_mut().for_each(|items| items.sort());
    Ok(pods)
}
