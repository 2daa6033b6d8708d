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
use super::worker::{Job, View};

/// A handle on keeld's state; clones share it.
#[derive(Clone)]
pub struct State {
    book: Arc<Mutex<Book>>,
    jobs: Sender<Job>,
    view: watch::Receiver<View>,
    log: Log,
}

impl State {
    pub(super) fn new(jobs: Sender<Job>, view: watch::Receiver<View>, log: Log) -> Self {
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
        let mut status = self.look().await?.status;
        status.transaction = self.book().running().cloned();
        Ok(status)
    }

    /// The remotes, read anew unless a transaction runs.
    pub async fn remotes(&self) -> Result<Vec<RemoteInfo>, String> {
        self.look().await.map(|view| view.remotes)
    }

    /// The history, oldest first.
    pub fn history(&self) -> Result<Vec<Entry>, String> {
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

    async fn look(&self) -> Result<View, String> {
        if self.book().running().is_some() {
            return Ok(self.view.borrow().clone());
        }
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Observe(answer)).map_err(|_| "keeld is stopping".to_owned())?;
        answered.await.map_err(|_| "keeld is stopping".to_owned())?
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
