//! Owns fetching from a remote: first the newest commit's metadata, whose signature libostree
//! checks before it keeps it, then (by static delta where there is one) everything else.

use std::sync::{Arc, Mutex, PoisonError};

use gio::Cancellable;
use glib::prelude::*;
use glib::{MainContext, VariantDict};
use ostree::{AsyncProgress, Repo, RepoCommitState, RepoPullFlags};

use crate::model::status::SigningKey;
use crate::model::transaction::{Download, Unit};
use crate::model::{Phase, Progress};

use super::context::Context;
use super::error::DeployError;
use super::{refusal, signature};

/// Milliseconds between two reports.
const REPORT_EVERY: u32 = 200;
/// How often libostree tries again what the network dropped.
const RETRIES: u32 = 5;

/// What to fetch.
#[derive(Debug, Clone)]
pub struct Source {
    /// The remote's name.
    pub remote: String,
    /// The ref's name at the remote.
    pub name: String,
    /// This commit of it, instead of the newest.
    pub commit: Option<String>,
}

impl Source {
    /// `REMOTE:REF`.
    pub fn refspec(&self) -> String {
        format!("{}:{}", self.remote, self.name)
    }

    /// The same source, at exactly this commit.
    pub fn at(&self, commit: &str) -> Self {
        Self { commit: Some(commit.to_owned()), ..self.clone() }
    }
}

/// Fetches only the commit's metadata and gives its checksum. The signature is checked before
/// anything is kept, unless the remote's configuration says `gpg-verify=false`.
pub fn metadata(repo: &Repo, source: &Source, context: &Context) -> Result<String, DeployError> {
    let options = options(source);
    options.insert("flags", i32::try_from(RepoPullFlags::COMMIT_ONLY.bits()).unwrap_or_default());
    pull(repo, source, &options, context, |_| Progress { phase: Phase::Checking, ..Progress::default() })?;
    match &source.commit {
        Some(commit) => Ok(commit.clone()),
        None => repo
            .require_rev(&source.refspec())
            .map(String::from)
            .map_err(|error| DeployError::ostree("cannot resolve the ref that was just fetched")(into_glib(error))),
    }
}

/// Fetches everything of the commit.
pub fn content(repo: &Repo, source: &Source, context: &Context) -> Result<(), DeployError> {
    pull(repo, source, &options(source), context, progress_of)
}

/// Whether everything of the commit is here already.
pub fn is_complete(repo: &Repo, commit: &str) -> bool {
    repo.load_commit(commit).is_ok_and(|(_, state)| !state.contains(RepoCommitState::PARTIAL))
}

/// What [`content`] will take at most, by the object sizes that the commit carries; `None` where it
/// carries none. A static delta takes less. (libostree's dry run would say how much less, but its
/// 2025.2 never ends with the curl fetcher: its progress timer starves the transfer.)
pub fn estimate(repo: &Repo, commit: &str) -> Option<Download> {
    let (object, _) = repo.load_commit(commit).ok()?;
    let sizes = ostree::commit_get_object_sizes(&object).ok()?;
    let missing = sizes
        .iter()
        .filter(|entry| !repo.has_object(entry.objtype(), &entry.checksum(), Cancellable::NONE).unwrap_or_default());
    let (bytes, unpacked) =
        missing.fold((0, 0), |(bytes, unpacked), entry| (bytes + entry.archived(), unpacked + entry.unpacked()));
    Some(Download { bytes, unpacked })
}

fn options(source: &Source) -> VariantDict {
    let options = VariantDict::new(None);
    options.insert_value("refs", &[source.name.as_str()].to_variant());
    if let Some(commit) = &source.commit {
        options.insert_value("override-commit-ids", &[commit.as_str()].to_variant());
    }
    options.insert("update-frequency", REPORT_EVERY);
    options.insert("n-network-retries", RETRIES);
    options
}

fn pull(
    repo: &Repo,
    source: &Source,
    options: &VariantDict,
    context: &Context,
    read: impl Fn(&AsyncProgress) -> Progress + 'static,
) -> Result<(), DeployError> {
    let url = repo
        .remote_get_url(&source.remote)
        .map_err(|_| DeployError::NoRemote { remote: source.remote.clone() })?
        .to_string();
    // libostree emits what it found of the signatures before it refuses them.
    let signatures: Arc<Mutex<Vec<SigningKey>>> = Arc::default();
    let sink = signatures.clone();
    let handler = repo.connect_gpg_verify_result(move |_, _, result| {
        *sink.lock().unwrap_or_else(PoisonError::into_inner) = signature::keys(result);
    });
    let pulled = on_own_loop(|| {
        let progress = AsyncProgress::new();
        let reporter = context.clone();
        progress.connect_changed(move |progress| reporter.report(read(progress)));
        let result = repo.pull_with_options(&source.remote, &options.end(), Some(&progress), context.cancellable());
        progress.finish();
        result
    });
    repo.disconnect(handler);
    let keys = signatures.lock().unwrap_or_else(PoisonError::into_inner).clone();
    pulled.map_err(|error| refusal::explain(error, &keys, source, &url))
}

/// Runs `work` with a main loop of its own, which libostree turns while it pulls.
fn on_own_loop<T>(work: impl FnOnce() -> Result<T, glib::Error>) -> Result<T, glib::Error> {
    let failed = |_| glib::Error::new(gio::IOErrorEnum::Failed, "the main loop is taken by another thread");
    MainContext::new().with_thread_default(work).map_err(failed)?
}

fn progress_of(progress: &AsyncProgress) -> Progress {
    let count = |key: &str| u64::from(progress.uint(key));
    let received = progress.uint64("bytes-transferred");
    let (phase, total_parts) = (Phase::Downloading, progress.uint64("total-delta-part-size"));
    if total_parts > 0 {
        let done = progress.uint64("fetched-delta-part-size");
        return Progress { phase, done, total: total_parts, unit: Unit::Bytes, received };
    }
    Progress { phase, done: count("fetched"), total: count("requested"), unit: Unit::Objects, received }
}

fn into_glib(error: impl std::fmt::Display) -> glib::Error {
    glib::Error::new(gio::IOErrorEnum::Failed, &error.to_string())
}
