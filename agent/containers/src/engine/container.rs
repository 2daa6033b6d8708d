//! Owns one container in memory: its record, its state for all who watch, and the lock that makes
//! what happens to it happen one after the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};

use super::record::{Record, State};
use crate::error::Result;

/// How long the end of a container, or its start, may be waited for by who only reads.
const LONGEST_END: Duration = Duration::from_secs(10);

/// One container.
#[derive(Debug)]
pub struct Container {
    id: String,
    folder: PathBuf,
    record: RwLock<Arc<Record>>,
    state: watch::Sender<State>,
    turn: Mutex<()>,
}

impl Container {
    /// A container that is kept in `folder`.
    pub fn new(record: Record, state: State, folder: PathBuf) -> Self {
        let id = record.id.clone();
        let (state, _) = watch::channel(state);
        Self { id, folder, record: RwLock::new(Arc::new(record)), state, turn: Mutex::default() }
    }

    /// Its id; also the key of its snapshot, its container and its task in containerd.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, without a slash.
    pub fn name(&self) -> String {
        self.record().name.clone()
    }

    /// Where it is kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What was asked for.
    pub fn record(&self) -> Arc<Record> {
        self.record.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What became of it, at this moment.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// What becomes of it.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until nothing else happens to it; nothing else does while the guard is held.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits, when it does not run, until its end (or a start that is under way) is dealt with; not for ever, so that
    /// something is said of one that hangs.
    pub async fn rested(&self) {
        if !self.state().status.alive() {
            tokio::time::timeout(LONGEST_END, self.turn()).await.ok();
        }
    }

    /// Changes what was asked for, in its folder first.
    pub(super) fn change(&self, change: impl FnOnce(&mut Record)) -> Result<()> {
        let mut record = Record::clone(&self.record());
        change(&mut record);
        record.write(&self.folder)?;
        *self.record.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(record);
        Ok(())
    }

    /// Changes what became of it, in its folder first. A folder that cannot be written, on a full
    /// disk, does not keep the state from being what it is.
    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        if !state.removed
            && let Err(error) = state.write(&self.folder)
        {
            tracing::warn!(id = self.id, "{error}");
        }
        self.state.send_replace(state);
    }
}
