//! Owns telling that a version was withdrawn: its ref holds another one, and not since it was staged only. Pure.

use std::collections::BTreeSet;

use crate::model::{Deployment, HostStatus, Role, Update, UpdateState};

use super::decide::Candidate;
use super::state::State;

/// Whether the last look found another version at the ref that a staged one came from. One from before it was staged
/// tells nothing.
pub fn withdrawn(state: &State, staged: &Candidate) -> bool {
    let (Some(checked), Some(since)) = (&state.checked, state.staged_since(&staged.checksum)) else { return false };
    let head = checked.head.as_ref().filter(|head| staged.refspec.as_ref() == Some(&head.refspec));
    since < checked.time && head.is_some_and(|head| head.checksum != staged.checksum)
}

/// The staged version that is dropped when its ref is found to hold what is no newer: it was withdrawn. It stays where
/// something would go with it that a person asked for: kernel arguments, another ref, or a rollback.
pub fn dropped<'a>(status: &'a HostStatus, update: &Update) -> Option<&'a Deployment> {
    let (booted, staged) = (status.booted.as_ref()?, status.staged.as_ref()?);
    let no_newer = matches!(update.state, UpdateState::UpToDate | UpdateState::Older);
    let its_own = staged.refspec.as_ref() == Some(&update.refspec) && staged.checksum != booted.checksum;
    let kargs = |of: &Deployment| of.kargs.iter().cloned().collect::<BTreeSet<_>>();
    let alone = kargs(staged) == kargs(booted)
        && staged.refspec == booted.refspec
        && status.deployments.iter().all(|other| other.role != Role::Pending);
    (no_newer && its_own && alone && staged.checksum != update.to.checksum).then_some(staged)
}

#[cfg(test)]
mod tests {
    use keelson_common::packages::PackageDiff;

    use super::*;
    use crate::model::transaction::CommitSummary;
    use crate::model::{Signature, SignatureState};

    fn deployment(role: Role, checksum: &str) -> Deployment {
        let kargs = vec!["quiet".into()];
        Deployment { refspec: Some("keelson:host".into()), kargs, ..Deployment::sample(role, checksum) }
    }

    #[test]
    fn what_was_withdrawn_is_dropped_where_nothing_goes_with_it() {
        let commit =
            |checksum: &str| CommitSummary { version: None, checksum: checksum.into(), timestamp: String::new() };
        let holds = |checksum: &str, state| Update {
            state,
            refspec: "keelson:host".into(),
            from: commit("1"),
            to: commit(checksum),
            signature: Signature { state: SignatureState::Trusted, keys: vec![] },
            packages: PackageDiff::default(),
            download: None,
        };
        let goes = |deployments: Vec<Deployment>, update: &Update| {
            dropped(&HostStatus::new("s".into(), deployments), update).is_some()
        };
        let (staged, booted) = (deployment(Role::Staged, "2"), deployment(Role::Booted, "1"));
        let pair = vec![staged.clone(), booted.clone()];
        let back = holds("1", UpdateState::UpToDate);
        assert!(goes(pair.clone(), &back) && goes(pair.clone(), &holds("0", UpdateState::Older)));
        assert!(!goes(pair.clone(), &holds("2", UpdateState::Staged)) && !goes(vec![booted.clone()], &back));
        assert!(!goes(pair.clone(), &holds("3", UpdateState::Available)), "a newer one takes its place");
        assert!(!goes(pair, &Update { refspec: "keelson:next".into(), ..back.clone() }), "another ref was asked");
        let arguments = Deployment { kargs: vec![], ..staged.clone() };
        assert!(!goes(vec![arguments, booted.clone()], &back));
        let same = Deployment { checksum: "1".into(), ..staged.clone() };
        assert!(!goes(vec![same, booted.clone()], &holds("0", UpdateState::Older)));
        let rebased = Deployment { refspec: Some("keelson:before".into()), ..booted.clone() };
        assert!(!goes(vec![staged.clone(), rebased], &back));
        assert!(!goes(vec![staged, deployment(Role::Pending, "0"), booted], &back), "a rollback");
    }
}
