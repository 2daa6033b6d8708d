//! Owns the main loop: events of the worker become signals, ticks keep the watchdog quiet, and a
//! request to stop cancels what runs.

use anyhow::Context as _;
use gio::Cancellable;
use gio::prelude::*;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::object_server::SignalEmitter;

use crate::api::server::Host;
use crate::api::{BUS_NAME, OBJECT_PATH};
use crate::deploy::HostOptions;
use crate::history::Log;
use crate::model::Progress;
use crate::model::Transaction;

use super::options::Options;
use super::state::State;
use super::worker::{self, Event};
use super::{reboot, supervision};

/// Serves until asked to stop. It ends as well when the bus does, on which nobody finds it any more: systemd starts it
/// anew.
pub async fn run(options: Options, own_mounts: bool) -> anyhow::Result<()> {
    let (events, mut inbox) = unbounded_channel();
    let cancellable = Cancellable::new();
    let log = Log::new(&options.state);
    let host = HostOptions { root: options.sysroot.clone(), own_mounts };
    let worker = worker::spawn(host, log.clone(), events, cancellable.clone())?;
    let state = State::new(worker.jobs, worker.view, log);
    let connection = serve(&options, state.clone()).await?;
    let emitter = SignalEmitter::new(&connection, OBJECT_PATH)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut heartbeat = supervision::heartbeat();
    supervision::ready();
    let lost = loop {
        tokio::select! {
            event = inbox.recv() => match event {
                Some(event) => handle(&state, &emitter, event).await,
                None => anyhow::bail!("the worker thread ended unexpectedly"),
            },
            _ = heartbeat.tick() => supervision::alive(),
            () = connection.closed() => break true,
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
        }
    };
    supervision::stopping();
    tracing::info!("stopping");
    cancellable.cancel();
    // The worker ends when no one can send it jobs any more.
    connection.object_server().remove::<Host, _>(OBJECT_PATH).await?;
    drop((state, connection));
    while inbox.recv().await.is_some() {}
    worker.thread.join().map_err(|_| anyhow::anyhow!("the worker thread panicked"))?;
    anyhow::ensure!(!lost, "the bus ended the connection; keeld must be started anew to serve on it");
    Ok(())
}

async fn serve(options: &Options, state: State) -> anyhow::Result<Connection> {
    let builder = match &options.bus {
        Some(address) => Builder::address(address.as_str()),
        None => Builder::system(),
    };
    builder
        .serve_at(OBJECT_PATH, Host::new(state))
        .name(BUS_NAME)
        .build()
        .await
        .with_context(|| format!("cannot own {BUS_NAME} on the bus"))
}

async fn handle(state: &State, emitter: &SignalEmitter<'_>, event: Event) {
    let sent = match event {
        Event::Progress(id, progress) => {
            supervision::status(&describe(&progress));
            state.progress(id, progress.clone());
            Host::progress(emitter, id, &json(&progress)).await
        }
        Event::Finished(id, result) => {
            supervision::status("Idle");
            let Some(transaction) = state.finish(id, *result) else { return };
            let sent = Host::finished(emitter, id, &json(&transaction)).await;
            reboot_if_asked(emitter.connection(), &transaction).await;
            sent
        }
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "cannot send a signal");
    }
}

async fn reboot_if_asked(connection: &Connection, transaction: &Transaction) {
    let pending = transaction.outcome.as_ref().is_some_and(|outcome| outcome.reboot_pending);
    if !(pending && transaction.request.reboot()) {
        return;
    }
    tracing::info!("rebooting, as asked by uid {}", transaction.uid);
    if let Err(error) = reboot::reboot(connection).await {
        tracing::error!(%error, "cannot reboot");
    }
}

fn describe(progress: &Progress) -> String {
    match progress.total {
        0 => progress.phase.word().to_owned(),
        total => format!("{} {} %", progress.phase.word(), progress.done.min(total) * 100 / total),
    }
}

/// A document of ours as JSON text; its types hold nothing that JSON cannot.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
