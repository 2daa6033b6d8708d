//! Owns the order of deployments, purely: what each is to this boot, and the order a rollback or
//! a cleanup leaves.

use crate::model::{Deployment, Role};

use super::error::DeployError;

/// What the deployment at `index` is, given where the booted one stands and whether it is staged.
/// On a sysroot that is not booted the first is what the next boot starts.
pub fn role(index: usize, booted: Option<usize>, staged: bool) -> Role {
    match booted {
        _ if staged => Role::Staged,
        Some(booted) if index == booted => Role::Booted,
        Some(booted) if index < booted => Role::Pending,
        Some(booted) if index == booted + 1 => Role::Rollback,
        None if index == 0 => Role::Pending,
        None if index == 1 => Role::Rollback,
        _ => Role::Other,
    }
}

/// The order after a rollback, as indices into `deployments`, and the index that boots next.
///
/// Where something else than the booted deployment would boot next, the booted one comes first
/// (and a staged one is dropped); otherwise the one after it does.
pub fn rollback(deployments: &[Deployment]) -> Result<(Vec<usize>, usize), DeployError> {
    let booted = deployments.iter().position(|deployment| deployment.role == Role::Booted);
    let target = match booted {
        Some(0) | None => 1,
        Some(booted) => booted,
    };
    if target >= deployments.len() {
        return Err(DeployError::NoRollback);
    }
    let kept = (0..deployments.len()).filter(|&i| i != target && deployments[i].role != Role::Staged);
    Ok((std::iter::once(target).chain(kept).collect(), target))
}

/// The indices a cleanup keeps. A pinned deployment is kept by refusing.
pub fn cleanup(deployments: &[Deployment], pending: bool, rollback: bool) -> Result<Vec<usize>, DeployError> {
    let has_booted = deployments.iter().any(|deployment| deployment.role == Role::Booted);
    let goes = |deployment: &Deployment| match deployment.role {
        Role::Staged => pending,
        // Without a booted deployment the pending one is all there is to boot.
        Role::Pending => pending && has_booted,
        Role::Rollback => rollback,
        Role::Booted | Role::Other => false,
    };
    if let Some(pinned) = deployments.iter().find(|deployment| goes(deployment) && deployment.pinned) {
        return Err(DeployError::Pinned { index: pinned.index });
    }
    Ok((0..deployments.len()).filter(|&i| !goes(&deployments[i])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Signature, SignatureState};

    fn host(roles: &[Role]) -> Vec<Deployment> {
        roles
            .iter()
            .zip(0..)
            .map(|(&role, index)| Deployment {
                index,
                role,
                version: None,
                checksum: format!("{index}"),
                refspec: None,
                timestamp: String::new(),
                signature: Signature { state: SignatureState::Unknown, keys: vec![] },
                pinned: false,
                kargs: vec![],
            })
            .collect()
    }

    #[test]
    fn roles_follow_the_booted_one() {
        let roles: Vec<Role> = (0..4).map(|i| role(i, Some(1), false)).collect();
        assert_eq!(roles, [Role::Pending, Role::Booted, Role::Rollback, Role::Other]);
        assert_eq!(role(0, Some(1), true), Role::Staged);
        assert_eq!(role(0, None, false), Role::Pending);
    }

    #[test]
    fn rollback_swaps_and_swaps_back() {
        assert_eq!(rollback(&host(&[Role::Booted, Role::Rollback])).unwrap(), (vec![1, 0], 1));
        assert_eq!(rollback(&host(&[Role::Pending, Role::Booted])).unwrap(), (vec![1, 0], 1));
    }

    #[test]
    fn rollback_drops_what_is_staged() {
        assert_eq!(rollback(&host(&[Role::Staged, Role::Booted, Role::Rollback])).unwrap(), (vec![1, 2], 1));
    }

    #[test]
    fn rollback_needs_another() {
        assert!(matches!(rollback(&host(&[Role::Booted])), Err(DeployError::NoRollback)));
        assert!(matches!(rollback(&[]), Err(DeployError::NoRollback)));
    }

    #[test]
    fn cleanup_never_drops_the_booted_or_a_pinned_one() {
        let mut all = host(&[Role::Staged, Role::Booted, Role::Rollback]);
        assert_eq!(cleanup(&all, true, false).unwrap(), [1, 2]);
        assert_eq!(cleanup(&all, false, true).unwrap(), [0, 1]);
        assert_eq!(cleanup(&all, false, false).unwrap(), [0, 1, 2]);
        all[2].pinned = true;
        assert!(matches!(cleanup(&all, false, true), Err(DeployError::Pinned { index: 2 })));
    }
}
