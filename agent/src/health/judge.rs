//! Owns the judgement over a boot by its health, purely.

use std::time::Duration;

use keelson_common::grubenv::BEHIND;

use crate::model::{Deployment, HostStatus, Role};

use super::record::Record;

/// What is known when a host is judged.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Whether all that must be well is.
    pub healthy: bool,
    /// The deployments.
    pub status: Option<&'a HostStatus>,
    /// What is remembered of versions.
    pub record: &'a Record,
    /// How long was waited.
    pub waited: Duration,
    /// How long it may take.
    pub limit: Duration,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is well.
    Healthy,
    /// It may become well yet.
    Wait,
    /// This version is given up for that one.
    RollBack(Box<Deployment>),
    /// It is not well, and nothing is done; why not.
    Report(&'static str),
}

/// Judges.
pub fn judge(facts: &Facts<'_>) -> Verdict {
    if facts.healthy {
        return Verdict::Healthy;
    }
    if facts.waited < facts.limit {
        return Verdict::Wait;
    }
    let Some(status) = facts.status else {
        return Verdict::Report("its deployments cannot be read, so there is nothing to go back to");
    };
    let Some(booted) = &status.booted else {
        return Verdict::Report("it was not booted from a deployment");
    };
    if facts.record.was_healthy(&booted.checksum) {
        return Verdict::Report("this version was healthy before, so that it is not to blame");
    }
    if facts.record.gave_up(&booted.checksum).is_some() {
        return Verdict::Report("this version was given up before, and somebody booted it again");
    }
    let healthy_before = |other: &&Deployment| {
        other.role == Role::Rollback && other.checksum != booted.checksum && facts.record.was_healthy(&other.checksum)
    };
    match status.deployments.iter().find(healthy_before) {
        Some(back) => Verdict::RollBack(Box::new(back.clone())),
        None => Verdict::Report("there is no version before it that was healthy"),
    }
}

/// What becomes of the boot loader's counting.
#[derive(Debug, Clone, PartialEq)]
pub enum Counted {
    /// It goes on, or there is none.
    GoesOn,
    /// It ends: what boots first has come up.
    Ends,
    /// What boots first has not come up, so that the boot loader went on to this one.
    GaveUp(Box<Deployment>),
    /// The same, but that was healthy before: power cuts may be to blame. It is tried as often again.
    Again(Box<Deployment>),
}

/// Judges what the boot loader has `left` to count, once a boot is judged.
pub fn counted(left: Option<u32>, status: &HostStatus, healthy: bool, record: &Record) -> Counted {
    let booted = status.booted.as_ref().map(|booted| &booted.checksum);
    let ahead = status.deployments.iter().find(|other| matches!(other.role, Role::Staged | Role::Pending));
    match (left, ahead) {
        (Some(0 | BEHIND), Some(ahead)) if ahead.role == Role::Pending => {
            // Its kernel arguments are to blame where it is the same version.
            let was_well = record.was_healthy(&ahead.checksum) && booted != Some(&ahead.checksum);
            if was_well { Counted::Again(Box::new(ahead.clone())) } else { Counted::GaveUp(Box::new(ahead.clone())) }
        }
        (Some(_), None) if healthy => Counted::Ends,
        // What is staged is counted from the next boot on; a person may have chosen this one in the menu.
        _ => Counted::GoesOn,
    }
}

/// Whether a version that boots next, and was booted before, is to have its boots counted as a new one has: it is
/// another than the one that runs, and was never healthy.
pub fn untried(booted: &str, next: &str, record: &Record) -> bool {
    next != booted && !record.was_healthy(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::record::{GivenUp, Known};
    fn record(healthy: &[&str], given_up: &[&str]) -> Record {
        let mut record = Record::default();
        for checksum in healthy {
            record.note_healthy(Known { checksum: (*checksum).to_owned(), ..Known::default() });
        }
        for checksum in given_up {
            record.note_given_up(GivenUp { checksum: (*checksum).to_owned(), ..GivenUp::default() });
        }
        record
    }

    fn judged(deployments: Vec<Deployment>, record: &Record) -> Verdict {
        let status = HostStatus::new("s".into(), deployments);
        let limit = Duration::from_secs(600);
        judge(&Facts { healthy: false, status: Some(&status), record, waited: limit, limit })
    }

    fn pair() -> Vec<Deployment> {
        vec![Deployment::sample(Role::Booted, "new"), Deployment::sample(Role::Rollback, "old")]
    }

    #[test]
    fn a_new_version_that_is_not_well_is_given_up_once() {
        let Verdict::RollBack(back) = judged(pair(), &record(&["old"], &[])) else { panic!("kept") };
        assert_eq!(back.checksum, "old");
        assert!(matches!(judged(pair(), &record(&["old"], &["new"])), Verdict::Report(why) if why.contains("again")));
        let staged = [vec![Deployment::sample(Role::Staged, "kargs")], pair()].concat();
        assert!(matches!(judged(staged, &record(&["old"], &[])), Verdict::RollBack(_)));
    }

    #[test]
    fn what_was_healthy_is_not_to_blame() {
        assert!(matches!(judged(pair(), &record(&["old", "new"], &[])), Verdict::Report(why) if why.contains("blame")));
    }

    #[test]
    fn nobody_goes_back_to_what_is_not_known_to_be_better() {
        assert!(matches!(judged(pair(), &record(&[], &[])), Verdict::Report(_)));
        assert!(matches!(
            judged(vec![Deployment::sample(Role::Booted, "new")], &record(&["old"], &[])),
            Verdict::Report(_)
        ));
        let same = vec![Deployment::sample(Role::Booted, "new"), Deployment::sample(Role::Rollback, "new")];
        assert!(matches!(judged(same, &record(&[], &[])), Verdict::Report(_)), "other kernel arguments");
    }

    #[test]
    fn the_boot_loaders_counting_ends_when_all_is_well_or_it_has_given_up() {
        let host = |roles: &[Role]| {
            let names = ["a", "b", "c"];
            let all = roles.iter().zip(names).map(|(&role, name)| Deployment::sample(role, name)).collect();
            HostStatus::new("s".into(), all)
        };
        let as_it_is = host(&[Role::Booted, Role::Rollback]);
        let none = Record::default();
        assert_eq!(counted(Some(2), &as_it_is, true, &none), Counted::Ends);
        assert_eq!(counted(Some(2), &as_it_is, false, &none), Counted::GoesOn);
        assert_eq!(counted(None, &as_it_is, true, &none), Counted::GoesOn);
        let behind = host(&[Role::Pending, Role::Booted]);
        for left in [0, BEHIND] {
            let Counted::GaveUp(gave_up) = counted(Some(left), &behind, false, &none) else { panic!("it is not told") };
            assert_eq!(gave_up.checksum, "a");
            let Counted::Again(again) = counted(Some(left), &behind, false, &record(&["a"], &[])) else {
                panic!("what was healthy is given up")
            };
            assert_eq!(again.checksum, "a");
        }
        let mut same = behind.clone();
        same.deployments[0].checksum = "b".into();
        assert!(matches!(counted(Some(0), &same, false, &record(&["b"], &[])), Counted::GaveUp(_)), "its arguments");
        assert_eq!(counted(Some(1), &behind, true, &none), Counted::GoesOn, "chosen in the menu");
        assert_eq!(counted(Some(3), &host(&[Role::Staged, Role::Booted]), true, &none), Counted::GoesOn);
    }

    #[test]
    fn a_rollback_to_what_was_never_healthy_is_counted() {
        let record = record(&["old"], &["dead"]);
        assert!(untried("old", "dead", &record) && untried("old", "unknown", &record));
        assert!(!untried("dead", "old", &record), "the host goes back");
        assert!(!untried("dead", "dead", &record), "nothing else boots next");
    }

    #[test]
    fn time_is_given_and_health_ends_the_wait() {
        let (record, limit) = (Record::default(), Duration::from_secs(600));
        let facts = Facts { healthy: false, status: None, record: &record, waited: Duration::ZERO, limit };
        assert_eq!(judge(&facts), Verdict::Wait);
        assert_eq!(judge(&Facts { healthy: true, waited: limit, ..facts.clone() }), Verdict::Healthy);
        assert!(matches!(judge(&Facts { waited: limit, ..facts }), Verdict::Report(_)));
    }
}
