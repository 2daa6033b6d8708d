//! Owns the life of the node: it joins, builds the parts, and stops when asked to. Pods run on.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cgroups::Cgroups;
use crate::config::Settings;
use crate::cri::Cri;
use crate::events::Recorder;
use crate::join;
use crate::objects::Objects;
use crate::pods::Registry;
use crate::report::{self, Stage};
use crate::{Context, supervision};

/// Is a node until asked to stop.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let stopped = stopped()?;
    let (stage, stages) = watch::channel(Stage::Joining { problem: None });
    tokio::spawn(report::serve(settings.clone(), stages));
    tokio::spawn(supervision::watchdog());
    supervision::ready();
    tokio::select! {
        ended = node(settings, stage) => ended,
        () = stopped => {
            supervision::stopping();
            Ok(())
        }
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
    let (events, _records) = Recorder::new();
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
    stage.send_replace(Stage::Joined { context, credentials: credentials.clone() });
    join::run_renewal(settings, credentials, client).await;
    Ok(())
}

fn stopped() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
