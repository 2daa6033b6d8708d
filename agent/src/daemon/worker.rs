//! Owns the thread that alone touches libostree: it does one job after another, keeps the history
//! and publishes what it sees.

use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use anyhow::Context as _;
use gio::Cancellable;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};

use crate::deploy::remote::{self, RemoteInfo};
use crate::deploy::{Context, DeployError, Host, HostOptions, observe, verb};
use crate::history::{Entry, Event as Happening, Log};
use crate::model::request::Upgrade;
use crate::model::transaction::Failure;
use crate::model::{HostStatus, Outcome, Progress, Request, time};

use super::boot;

/// What the worker is asked to do.
pub enum Job {
    /// Say when everything asked for before is done.
    Settle(oneshot::Sender<()>),
    /// Read the deployments anew.
    Observe(oneshot::Sender<Result<HostStatus, String>>),
    /// Read the remotes anew.
    Remotes(oneshot::Sender<Vec<RemoteInfo>>),
    /// Do what is asked.
    Perform {
        /// The transaction's number.
        id: u64,
        /// What is asked.
        request: Request,
        /// Who asks.
        uid: u32,
    },
}

/// What the worker tells the main loop.
pub enum Event {
    /// How far a transaction is.
    Progress(u64, Progress),
    /// A transaction ended.
    Finished(u64, Box<Result<Outcome, Failure>>),
}

/// The running worker.
pub struct Handle {
    /// Where jobs go.
    pub jobs: Sender<Job>,
    /// The deployments as it last saw them.
    pub view: watch::Receiver<HostStatus>,
    /// The thread, which ends when no sender of jobs is left.
    pub thread: JoinHandle<()>,
}

/// Starts the worker, and waits until it has opened the sysroot.
pub fn spawn(
    options: HostOptions,
    log: Log,
    events: UnboundedSender<Event>,
    cancellable: Cancellable,
) -> anyhow::Result<Handle> {
    let (jobs, inbox) = channel();
    let (views, view) = watch::channel(HostStatus::default());
    let (opened, outcome) = channel();
    let body = move || match Worker::open(&options, log, events, views, cancellable) {
        Ok(mut worker) => {
            let _ = opened.send(Ok(()));
            worker.work(&inbox);
        }
        Err(error) => drop(opened.send(Err(error))),
    };
    let thread =
        std::thread::Builder::new().name("libostree".into()).spawn(body).context("cannot start the worker thread")?;
    let first = outcome.recv().context("the worker thread ended before it was ready")?;
    first.map_err(|error| anyhow::anyhow!("{}", error.chain()))?;
    Ok(Handle { jobs, view, thread })
}

struct Worker {
    host: Host,
    log: Log,
    events: UnboundedSender<Event>,
    views: watch::Sender<HostStatus>,
    cancellable: Cancellable,
    boot_id: Option<String>,
}

impl Worker {
    fn open(
        options: &HostOptions,
        log: Log,
        events: UnboundedSender<Event>,
        views: watch::Sender<HostStatus>,
        cancellable: Cancellable,
    ) -> Result<Self, DeployError> {
        let host = Host::open(options)?;
        Ok(Self { host, log, events, views, cancellable, boot_id: boot::id() })
    }

    /// Notes this boot, then does what comes. The boot need not wait for the former: it takes a
    /// look into the journal and a check of signatures.
    fn work(&mut self, inbox: &Receiver<Job>) {
        match self.look() {
            Ok(status) => boot::record(&self.log, &status, self.boot_id.as_deref()),
            Err(error) => tracing::error!("cannot read the deployments: {}", error.chain()),
        }
        while let Ok(job) = inbox.recv() {
            match job {
                // The asker may have gone away meanwhile.
                Job::Observe(answer) => drop(answer.send(self.look().map_err(|error| error.chain()))),
                Job::Settle(answer) => drop(answer.send(())),
                Job::Remotes(answer) => drop(answer.send(remote::list(&self.host))),
                Job::Perform { id, request, uid } => self.perform(id, &request, uid),
            }
        }
    }

    fn look(&mut self) -> Result<HostStatus, DeployError> {
        self.host.reload()?;
        let status = observe::observe(&mut self.host)?;
        self.views.send_replace(status.clone());
        Ok(status)
    }

    fn perform(&mut self, id: u64, request: &Request, uid: u32) {
        let events = self.events.clone();
        let report = Rc::new(move |progress| drop(events.send(Event::Progress(id, progress))));
        let result = verb::perform(&mut self.host, request, &Context::new(report, self.cancellable.clone()));
        if let Err(error) = self.look() {
            tracing::warn!("cannot read the host after {}: {}", request.noun(), error.chain());
        }
        self.note(request, uid, &result);
        let result = result.map_err(|error| Failure { kind: error.kind().into(), message: error.chain() });
        keelson_common::memory::give_back();
        // The main loop outlives this thread.
        let _ = self.events.send(Event::Finished(id, Box::new(result)));
    }

    /// Writes what happened into the journal and the history.
    fn note(&self, request: &Request, uid: u32, result: &Result<Outcome, DeployError>) {
        let verb = request.verb();
        let (event, message) = match result {
            Ok(outcome) => {
                tracing::info!(verb, uid, "{}", outcome.message);
                let Some(event) = happening(request).filter(|_| outcome.changed) else { return };
                (event, outcome.message.clone())
            }
            Err(error) => {
                let text = error.chain();
                tracing::error!(verb, uid, kind = error.kind(), "{} failed: {text}", request.noun());
                (Happening::Failed, format!("{verb}: {text}"))
            }
        };
        let entry = self.entry(event, request, uid, message);
        if let Err(error) = self.log.append(&entry) {
            tracing::warn!(%error, "cannot write the history");
        }
    }

    fn entry(&self, event: Happening, request: &Request, uid: u32, message: String) -> Entry {
        let view = self.views.borrow();
        let concerned = match request {
            Request::Pin { index, .. } => view.deployments.iter().find(|deployment| deployment.index == *index),
            _ if event.sets_next_boot() => view.next_boot(),
            _ => None,
        };
        Entry {
            time: time::rfc3339(time::now()),
            event,
            version: concerned.and_then(|deployment| deployment.version.clone()),
            checksum: concerned.map(|deployment| deployment.checksum.clone()),
            uid: Some(uid),
            boot_id: self.boot_id.clone(),
            message: Some(message),
        }
    }
}

fn happening(request: &Request) -> Option<Happening> {
    match request {
        Request::Check => None,
        Request::Upgrade(Upgrade { download_only: true, .. }) => Some(Happening::Downloaded),
        Request::Upgrade(_) => Some(Happening::Upgraded),
        Request::Rollback { .. } => Some(Happening::RolledBack),
        Request::Pin { pinned: true, .. } => Some(Happening::Pinned),
        Request::Pin { pinned: false, .. } => Some(Happening::Unpinned),
        Request::Kargs { .. } => Some(Happening::Kargs),
        Request::Rebase(_) => Some(Happening::Rebased),
        Request::Cleanup { .. } => Some(Happening::CleanedUp),
        Request::Remote(_) => Some(Happening::RemoteChanged),
    }
}
