//! Owns turning what libostree holds into [`HostStatus`].

use glib::Variant;
use keelson_common::commit::CommitInfo;
use ostree::{Deployment as Native, Repo};

use crate::model::transaction::CommitSummary;
use crate::model::{Deployment, HostStatus, Signature, SignatureState, time};

use super::error::DeployError;
use super::host::Host;
use super::{kargs, order};

/// Reads every deployment.
pub fn observe(host: &mut Host) -> Result<HostStatus, DeployError> {
    let natives = host.deployments();
    let booted = host.booted();
    let at = booted.as_ref().and_then(|booted| natives.iter().position(|native| native.equal(booted)));
    let mut deployments = Vec::with_capacity(natives.len());
    for (index, native) in natives.iter().enumerate() {
        deployments.push(deployment(host, native, index, at));
    }
    let commits: Vec<String> = deployments.iter().map(|deployment| deployment.checksum.clone()).collect();
    host.signatures.retain(&commits);
    Ok(HostStatus::new(host.stateroot(), deployments))
}

fn deployment(host: &mut Host, native: &Native, index: usize, booted: Option<usize>) -> Deployment {
    let (repo, checksum) = (host.repo(), native.csum().to_string());
    let refspec = refspec(native);
    let remote = refspec.as_deref().and_then(|refspec| refspec.split_once(':')).map(|(remote, _)| remote.to_owned());
    // A deployment whose commit object is gone can still be booted, so it is shown all the same.
    let commit = info(&repo, &checksum).unwrap_or_default();
    let signature = match commit.timestamp {
        0 => Signature { state: SignatureState::Unknown, keys: vec![] },
        _ => host.signatures.get(&repo, remote.as_deref(), &checksum),
    };
    Deployment {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        role: order::role(index, booted, native.is_staged()),
        version: commit.version,
        timestamp: time::rfc3339(commit.timestamp),
        signature,
        pinned: native.is_pinned(),
        kargs: options(native).map(|options| kargs::parse(&options)).unwrap_or_default(),
        refspec,
        checksum,
    }
}

/// The refspec a deployment follows.
pub fn refspec(native: &Native) -> Option<String> {
    native.origin()?.string("origin", "refspec").ok().map(String::from)
}

fn options(native: &Native) -> Option<String> {
    native.bootconfig()?.get("options").map(String::from)
}

/// A commit object.
pub fn commit(repo: &Repo, checksum: &str) -> Result<Variant, DeployError> {
    repo.load_commit(checksum)
        .map(|(commit, _)| commit)
        .map_err(DeployError::ostree(format!("cannot read commit {checksum}")))
}

/// What a commit says about itself.
pub fn info(repo: &Repo, checksum: &str) -> Result<CommitInfo, DeployError> {
    commit(repo, checksum).map(|commit| CommitInfo::from_variant(&commit))
}

/// A commit in short.
pub fn summary(checksum: &str, info: &CommitInfo) -> CommitSummary {
    CommitSummary {
        version: info.version.clone(),
        checksum: checksum.to_owned(),
        timestamp: time::rfc3339(info.timestamp),
    }
}
