//! `check`: what the ref holds, against what runs. The metadata it fetches stays; the ref in the
//! repository is put back, so that nothing half-fetched is named by it.

use keelson_common::commit::REMOTE;
use keelson_common::packages::PackageDiff;

use crate::deploy::context::Context;
use crate::deploy::decide::{self, Candidate};
use crate::deploy::error::DeployError;
use crate::deploy::host::Host;
use crate::deploy::pull::{self, Source};
use crate::deploy::{observe, stage};
use crate::model::{HostStatus, Outcome, Phase, Update, UpdateState};

/// Performs the verb.
pub fn perform(host: &mut Host, context: &Context) -> Result<Outcome, DeployError> {
    let status = observe::observe(host)?;
    let source = source(&status, None, None)?;
    let update = with_ref_kept(host, &source, |host| fetch(host, &status, &source, context))?;
    Ok(Outcome {
        changed: false,
        message: message(&update),
        reboot_pending: status.reboot_pending(),
        update: Some(update),
        freed: None,
    })
}

fn message(update: &Update) -> String {
    let (from, to) = (update.from.label(), update.to.label());
    match update.state {
        UpdateState::Available => format!("{to} is available; {from} runs."),
        UpdateState::UpToDate => format!("{from} is the newest."),
        UpdateState::Staged => format!("{to} is staged; it runs after a reboot."),
        UpdateState::Older => format!("{} holds {to}, which is older than what is deployed.", update.refspec),
    }
}

/// Where updates come from: `refspec`, else what the base deployment follows; at `commit`, else
/// the newest.
pub fn source(status: &HostStatus, refspec: Option<&str>, commit: Option<&str>) -> Result<Source, DeployError> {
    let followed = stage::base(status).ok().and_then(|base| base.refspec.clone());
    let refspec = refspec.map(str::to_owned).or(followed).ok_or(DeployError::NoOrigin)?;
    let (remote, name) = decide::split_refspec(&refspec, REMOTE)?;
    Ok(Source { remote: remote.to_owned(), name: name.to_owned(), commit: commit.map(str::to_owned) })
}

/// Runs `work`, then makes the ref in the repository name what it named before.
pub fn with_ref_kept<T>(
    host: &mut Host,
    source: &Source,
    work: impl FnOnce(&mut Host) -> Result<T, DeployError>,
) -> Result<T, DeployError> {
    let before = host
        .repo()
        .resolve_rev(&source.refspec(), true)
        .map_err(DeployError::ostree("cannot resolve the ref in the repository"))?;
    let result = work(host);
    host.repo()
        .set_ref_immediate(Some(&source.remote), &source.name, before.as_deref(), gio::Cancellable::NONE)
        .map_err(DeployError::ostree("cannot put the ref in the repository back"))?;
    result
}

/// Fetches the metadata of what the ref holds and compares it.
pub fn fetch(host: &mut Host, status: &HostStatus, source: &Source, context: &Context) -> Result<Update, DeployError> {
    context.begin(Phase::Checking);
    let repo = host.repo();
    let checksum = pull::metadata(&repo, source, context)?;
    let to = observe::info(&repo, &checksum)?;
    let from = status.booted.as_ref().or(status.next_boot()).ok_or(DeployError::Empty)?.checksum.clone();
    let from_info = observe::info(&repo, &from)?;
    let to_summary = observe::summary(&checksum, &to);
    let candidate = candidate(&to_summary);
    let state = decide::compare(status, &candidate);
    let wanted = matches!(state, UpdateState::Available | UpdateState::Older) && !pull::is_complete(&repo, &checksum);
    Ok(Update {
        state,
        refspec: source.refspec(),
        from: observe::summary(&from, &from_info),
        signature: host.signatures.get(&repo, Some(&source.remote), &checksum),
        packages: PackageDiff::between(&from_info.packages, &to.packages),
        download: if wanted { pull::estimate(&repo, &checksum) } else { None },
        to: to_summary,
    })
}

/// What deciding needs of a commit.
pub fn candidate(to: &crate::model::transaction::CommitSummary) -> Candidate {
    Candidate { checksum: to.checksum.clone(), label: to.label().to_owned(), timestamp: to.timestamp.clone() }
}
