//! Owns what the D-Bus interface sees: the book of transactions, the last view of the host, and
//! the way to the worker.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::deploy::remote::RemoteInfo;
use crate::history::{Entry, Log};
use crate::model::transaction::Failure;
use crate::model::{HostStatus, Outcome, Progress, Request, Transaction, time};

use super::book::{Admission, Book};
use super::worker::Job;

/// A handle on keeld's state; clones share it.
#[derive(Clone)]
pub struct State {
    book: Arc<Mutex<Book>>,
    jobs: Sender<Job>,
    view: watch::Receiver<HostStatus>,
    log: Log,
}

impl State {
    pub(super) fn new(jobs: Sender<Job>, view: watch::Receiver<HostStatus>, log: Log) -> Self {
        Self { book: Arc::default(), jobs, view, log }
    }

    /// Takes a request on and gives its transaction's number, or why it is not taken on.
    pub fn submit(&self, request: Request, uid: u32) -> Result<u64, String> {
        match self.book().admit(&request, uid, &time::rfc3339(time::now())) {
            Admission::Join(id) => Ok(id),
            Admission::Busy(text) => Err(text),
            Admission::Start(id) => {
                tracing::info!(transaction = id, verb = request.verb(), uid, "{} begins", request.noun());
                let gone = |_| "keeld is stopping".to_owned();
                self.jobs.send(Job::Perform { id, request, uid }).map_err(gone)?;
                Ok(id)
            }
        }
    }

    /// The deployments, read anew unless a transaction runs, and that transaction.
    pub async fn status(&self) -> Result<HostStatus, String> {
        let running = self.book().running().cloned();
        let mut status = match running {
            Some(_) => self.view.borrow().clone(),
            None => self.ask(Job::Observe).await??,
        };
        status.transaction = running;
        Ok(status)
    }

    /// The remotes, once no transaction runs that might change them.
    pub async fn remotes(&self) -> Result<Vec<RemoteInfo>, String> {
        self.ask(Job::Remotes).await
    }

    /// The history, oldest first. Right after a boot it waits until that boot is noted.
    pub async fn history(&self) -> Result<Vec<Entry>, String> {
        let running = self.book().running().is_some();
        if !running {
            self.ask(Job::Settle).await?;
        }
        self.log.read().map_err(|error| format!("cannot read the history: {error}"))
    }

    /// A transaction, while it is kept.
    pub fn transaction(&self, id: u64) -> Option<Transaction> {
        self.book().get(id).cloned()
    }

    pub(super) fn progress(&self, id: u64, progress: Progress) {
        self.book().progress(id, progress);
    }

    pub(super) fn finish(&self, id: u64, result: Result<Outcome, Failure>) -> Option<Transaction> {
        self.book().finish(id, result)
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, String> {
        let stopping = || "keeld is stopping".to_owned();
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer)).map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
