//! Owns what an upgrade should do, purely: from what is deployed and what the ref holds.

use crate::model::{HostStatus, Role, UpdateState};

use super::error::DeployError;

/// A commit, as far as deciding goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The commit.
    pub checksum: String,
    /// What a person calls it.
    pub label: String,
    /// When it was made, RFC 3339 in UTC: later text is later time.
    pub timestamp: String,
}

/// Compares what the ref holds with what is deployed.
pub fn compare(status: &HostStatus, candidate: &Candidate) -> UpdateState {
    let next = status.next_boot().map(|deployment| deployment.checksum.as_str());
    let booted = status.booted.as_ref().map(|deployment| deployment.checksum.as_str());
    if booted == Some(&candidate.checksum) {
        return UpdateState::UpToDate;
    }
    if next == Some(&candidate.checksum) {
        return if booted.is_some() { UpdateState::Staged } else { UpdateState::UpToDate };
    }
    match newest(status) {
        Some((_, timestamp)) if candidate.timestamp.as_str() < timestamp => UpdateState::Older,
        _ => UpdateState::Available,
    }
}

/// The newest of what runs and what the next boot would start. A rollback deployment does not
/// count: a person who went back wants to be able to go forward to less than they left.
fn newest(status: &HostStatus) -> Option<(&str, &str)> {
    status
        .deployments
        .iter()
        .filter(|deployment| matches!(deployment.role, Role::Booted | Role::Staged | Role::Pending))
        .map(|deployment| (deployment.label(), deployment.timestamp.as_str()))
        .max_by_key(|(_, timestamp)| *timestamp)
}

/// Refuses a candidate that is older than what the host has.
pub fn refuse_older(status: &HostStatus, candidate: &Candidate) -> DeployError {
    let (from, from_time) = newest(status).unwrap_or_default();
    DeployError::Older {
        to: candidate.label.clone(),
        to_time: candidate.timestamp.clone(),
        from: from.to_owned(),
        from_time: from_time.to_owned(),
    }
}

/// Splits a refspec; a bare ref belongs to `default_remote`.
pub fn split_refspec<'a>(refspec: &'a str, default_remote: &'a str) -> Result<(&'a str, &'a str), DeployError> {
    let (remote, name) = refspec.split_once(':').unwrap_or((default_remote, refspec));
    let part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let good = part(remote) && name.split('/').all(part) && name.chars().all(plain) && remote.chars().all(plain);
    if good { Ok((remote, name)) } else { Err(DeployError::BadRef { refspec: refspec.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Deployment;

    fn deployment(role: Role, name: &str, timestamp: &str) -> Deployment {
        Deployment { version: Some(name.into()), timestamp: timestamp.into(), ..Deployment::sample(role, name) }
    }

    fn candidate(name: &str, timestamp: &str) -> Candidate {
        Candidate { checksum: name.into(), label: name.into(), timestamp: timestamp.into() }
    }

    fn host(deployments: Vec<Deployment>) -> HostStatus {
        HostStatus::new("s".into(), deployments)
    }

    #[test]
    fn what_runs_is_up_to_date() {
        let status = host(vec![deployment(Role::Booted, "1", "2020")]);
        assert_eq!(compare(&status, &candidate("1", "2020")), UpdateState::UpToDate);
        assert_eq!(compare(&status, &candidate("2", "2021")), UpdateState::Available);
        assert_eq!(compare(&status, &candidate("0", "2019")), UpdateState::Older);
    }

    #[test]
    fn what_is_staged_only_needs_a_reboot() {
        let status = host(vec![deployment(Role::Staged, "2", "2021"), deployment(Role::Booted, "1", "2020")]);
        assert_eq!(compare(&status, &candidate("2", "2021")), UpdateState::Staged);
        assert_eq!(compare(&status, &candidate("1", "2020")), UpdateState::UpToDate);
        assert_eq!(compare(&status, &candidate("1.5", "2020-06")), UpdateState::Older);
        assert!(refuse_older(&status, &candidate("1.5", "2020-06")).to_string().contains("older than 2 (2021)"));
    }

    #[test]
    fn after_a_rollback_the_left_version_can_be_had_again() {
        let status = host(vec![deployment(Role::Booted, "1", "2020"), deployment(Role::Rollback, "2", "2021")]);
        assert_eq!(compare(&status, &candidate("2", "2021")), UpdateState::Available);
        assert_eq!(compare(&status, &candidate("1.5", "2020-06")), UpdateState::Available);
    }

    #[test]
    fn equal_time_is_not_older() {
        let status = host(vec![deployment(Role::Booted, "1", "2020")]);
        assert_eq!(compare(&status, &candidate("1b", "2020")), UpdateState::Available);
    }

    #[test]
    fn refspecs() {
        assert_eq!(split_refspec("keelson/host", "keelson").unwrap(), ("keelson", "keelson/host"));
        assert_eq!(split_refspec("other:a/b", "keelson").unwrap(), ("other", "a/b"));
        for bad in ["", ":", "a:", "a b", "a//b", "../x", "x:y:z", "-x"] {
            assert!(split_refspec(bad, "keelson").is_err(), "{bad}");
        }
    }
}
