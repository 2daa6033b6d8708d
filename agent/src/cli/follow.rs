//! Owns following a transaction to its end, with a bar on a terminal. Ending keelctl does not end
//! the transaction.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};

use crate::api::error::ApiError;
use crate::model::transaction::{State, Unit};
use crate::model::{Progress, Transaction};

use super::session::{Session, answer, refused};

/// Starts a transaction by `start`, which gives its number, and follows it.
pub async fn follow(
    session: &Session,
    start: impl Future<Output = Result<u64, ApiError>>,
) -> anyhow::Result<Transaction> {
    let keeld = &session.keeld;
    // Before the start, so that nothing is missed between its answer and the first signal.
    let mut progress = keeld.receive_progress().await.context("cannot follow keeld")?;
    let mut finished = keeld.receive_finished().await.context("cannot follow keeld")?;
    let mut owner = keeld.inner().receive_owner_changed().await.context("cannot follow keeld")?;
    let id = start.await.map_err(refused)?;
    let now: Transaction = answer(keeld.transaction(id).await)?;
    if now.state != State::Running {
        return Ok(now);
    }
    let bar = Bar::new();
    bar.show(&now.progress);
    loop {
        tokio::select! {
            Some(signal) = progress.next() => {
                let args = signal.args().context("keeld sent an odd signal")?;
                if args.id == id && let Ok(progress) = serde_json::from_str(args.progress) {
                    bar.show(&progress);
                }
            }
            Some(signal) = finished.next() => {
                let args = signal.args().context("keeld sent an odd signal")?;
                if args.id == id {
                    return serde_json::from_str(args.transaction).context("keeld sent an odd document");
                }
            }
            () = keeld.inner().connection().closed() => {
                let noun = now.request.noun();
                bail!("the bus ended the connection to keeld; `keelctl history` shows what came of {noun}");
            }
            Some(None) = owner.next() => bail!("keeld ended before it was done; the host is as it was, and the next try goes on from there"),
            _ = tokio::signal::ctrl_c() => {
                let noun = now.request.noun();
                bail!("interrupted, but {noun} goes on in keeld; `keelctl status` shows how far it is");
            }
        }
    }
}

struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    fn show(&self, progress: &Progress) {
        let (template, total) = match (progress.total, progress.unit) {
            (0, _) => ("{spinner} {msg} {elapsed}", None),
            (total, Unit::Bytes) => ("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}", Some(total)),
            (total, Unit::Objects) => ("{msg} [{bar:30}] {pos}/{len} objects {elapsed}", Some(total)),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        if let Some(total) = total {
            self.0.set_length(total);
            self.0.set_position(progress.done.min(total));
        }
        self.0.set_message(progress.phase.word());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
