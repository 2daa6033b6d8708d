//! Owns the life of the node: it joins, builds the parts, and stops when asked to. Pods run on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use keelson_common::signals;
use tokio::sync::{mpsc, watch};

use crate::alone::alone;
use crate::cgroups::Cgroups;
use crate::config::Settings;
use crate::cri::Cri;
use crate::events::{Record, Recorder};
use crate::eviction::Pressure;
use crate::images::Policy;
use crate::node::Control;
use crate::objects::Objects;
use crate::pods::static_pods::{self, Mirrors};
use crate::pods::{Parts, Registry};
use crate::report::{self, Stage};
use crate::{Context, events, eviction, join, logs, network, node, pods, server, supervision};

/// How often memory is given back.
const MEMORY: Duration = Duration::from_secs(30);
/// How long the Node is waited for before pods are started.
const KNOWN: Duration = Duration::from_secs(3);

/// Is a node until asked to stop.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let _alone = alone(&settings.run)?;
    let stopped = signals::stopped().context("cannot wait for the signals to stop")?;
    let (stage, stages) = watch::channel(Stage::Joining { problem: None });
    tokio::spawn(report::serve(settings.clone(), stages));
    tokio::spawn(supervision::watchdog());
    tokio::spawn(stay_small());
    supervision::ready();
    tokio::select! {
        ended = node(settings, stage) => ended,
        () = stopped => {
            supervision::stopping();
            Ok(())
        }
    }
}

/// Gives memory back that is not needed any more, for good: many pods at once leave the heap full of holes.
async fn stay_small() {
    loop {
        tokio::time::sleep(MEMORY).await;
        keelson_common::memory::give_back();
    }
}

async fn node(settings: Settings, stage: watch::Sender<Stage>) -> anyhow::Result<()> {
    supervision::status("Joining");
    let told = |error: &join::JoinError| {
        supervision::status(&format!("Cannot join: {error}"));
        stage.send_replace(Stage::Joining { problem: Some(error.whole()) });
    };
    let credentials = join::credentials_patiently(&settings, told).await;
    let client = join::client(&credentials)?;
    let (events, records) = Recorder::new();
    let context = Arc::new(Context {
        cri: Cri::new(&settings.containerd),
        objects: Objects::new(client.clone()),
        cgroups: Cgroups::new(&settings),
        pods: Arc::new(Registry::default()),
        node: watch::Sender::new(None),
        client: client.clone(),
        settings: settings.clone(),
        events,
    });
    supervision::status("Joined");
    stage.send_replace(Stage::Joined { context: context.clone(), credentials: credentials.clone() });
    let serving = join::server_config(&credentials);
    let ended = tokio::select! {
        ended = server::run(context.clone(), serving.resolver, &serving.client_authority) => ended,
        () = pods_and_node(context, records) => Ok(()),
        () = join::run_renewal(settings, credentials, client) => Ok(()),
    };
    ended.context("cannot serve the kubelet API")
}

/// Runs everything that does not end by itself.
async fn pods_and_node(context: Arc<Context>, records: mpsc::Receiver<Record>) {
    let control = Arc::new(Control::default());
    let (pressure, pressed) = watch::channel(Pressure::default());
    let events = events::run(context.client.clone(), context.settings.name.clone(), records);
    let watched = context.clone();
    let beside = async {
        tokio::join!(
            events,
            watched.objects.watch_services(),
            network::run(watched.clone()),
            node::run(watched.clone(), control.clone(), pressed.clone()),
            logs::run(watched.clone()),
        );
    };
    tokio::join!(beside, pods(context, control.clone(), pressure, pressed.clone()));
}

/// Runs the pods. What they may have is written in the Node, which is known soon where there is an API;
/// static pods do not wait for one.
async fn pods(
    context: Arc<Context>,
    control: Arc<Control>,
    pressure: watch::Sender<Pressure>,
    pressed: watch::Receiver<Pressure>,
) {
    let mut node = context.node.subscribe();
    // Without it, pods are let in by what does not depend on it.
    let _ = tokio::time::timeout(KNOWN, node.wait_for(Option::is_some)).await;
    drop(node);
    if let Err(error) = context.cgroups.ensure_tree().await {
        tracing::warn!("{:#}", anyhow::Error::from(error));
    }
    let statics = static_pods::start(&context);
    let mirrors = Mirrors::new(&context, statics.clone());
    let parts = Arc::new(Parts::new(context.clone(), mirrors.clone(), pressed, control));
    let freed = parts.clone();
    let reclaim: eviction::Reclaim = Box::new(move || {
        let parts = freed.clone();
        Box::pin(async move {
            if let Err(error) = pods::reclaim(&parts).await {
                tracing::warn!("cannot look for containers of pods that are over: {error}");
            }
            if let Err(error) = parts.images.remove_unused().await {
                tracing::warn!("cannot remove images that nobody uses: {error}");
            }
        })
    });
    tokio::join!(
        pods::run(parts.clone(), statics),
        mirrors.run(),
        parts.images.run(Policy::default()),
        eviction::run(context, pressure, reclaim),
    );
}
