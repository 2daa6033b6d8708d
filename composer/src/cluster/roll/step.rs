//! Owns the way of one machine to another version, as a state machine: what was seen of it, and what this run has
//! done to it, give the next step. Nothing here looks or acts.
//!
//! ```text
//!  old version ── Stage ──▶ staged ── Apply ──▶ draining, rebooting ──▶ new version ──▶ well, Ready, uncordoned: Done
//!                   │                   │                │                    │
//!                   └── refused         └── refused      └── old again        └── out of time     each Failed
//! ```
//!
//! A run that was broken off is taken up anywhere: what is staged already is not staged again, and a machine that
//! has the version only has to be well.

use crate::cluster::nodes::Node;
use crate::cluster::observed::{Deployed, Health, Observed};
use crate::cluster::plan::Role;

/// What was seen of a machine.
#[derive(Debug, Clone)]
pub struct Seen {
    /// It as it shows itself; none while it does not answer.
    pub machine: Option<Observed>,
    /// What the cluster says of it.
    pub cluster: InCluster,
    /// What became of the command that brings the version about.
    pub apply: Apply,
}

/// What the cluster says of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InCluster {
    /// It is the master.
    Master {
        /// Whether its API server answers.
        answers: bool,
        /// It as a node, which it need not be.
        node: Option<Node>,
    },
    /// It is a node, which the API may not have, or not be able to tell.
    Node(Option<Node>),
}

impl InCluster {
    fn role(&self) -> Role {
        match self {
            Self::Master { .. } => Role::Master,
            Self::Node(_) => Role::Node,
        }
    }
}

/// What became of the command that brings the version about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// This run has not given it.
    NotYet,
    /// It was given in that boot, and runs, ended well, or lost its connection to the reboot.
    Given {
        /// The boot.
        boot: String,
    },
    /// It said no.
    Refused {
        /// In its own words.
        why: String,
    },
}

/// What a machine that is not done is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does not answer, and was not told to reboot by this run.
    Unreachable,
    /// It has another version, which nothing was done about yet.
    Old,
    /// Pods are moved away, the lock is waited for.
    Draining,
    /// On its way to the next boot.
    Rebooting,
    /// It has the version, and does not say that it is well.
    Unwell,
    /// It has the version, and the cluster does not have it as Ready.
    NotReady,
    /// It is Ready, and pods are still kept away.
    Cordoned,
}

impl Phase {
    /// What a person sees.
    pub fn text(self, role: Role) -> &'static str {
        match self {
            Self::Unreachable => "does not answer",
            Self::Old => "still the old version",
            Self::Draining if role == Role::Master => "going down for the reboot",
            Self::Draining => "draining",
            Self::Rebooting => "rebooting",
            Self::Unwell => "new version; waiting until it is well",
            Self::NotReady if role == Role::Master => {
                "new version; waiting until its API server answers and has it as Ready"
            }
            Self::NotReady => "new version; waiting until it is Ready",
            Self::Cordoned => "new version; waiting until it is uncordoned",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Look again later.
    Wait(Phase),
    /// Have it download and stage the version.
    Stage,
    /// Have it drain and reboot into what is staged.
    Apply,
    /// It has the version and is well.
    Done,
    /// It is not going to; the roll ends here.
    Failed(Why),
}

/// Why a machine does not come to the version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// It booted something else afterwards.
    #[error("it went back to version {to} by itself")]
    WentBack {
        /// What runs now.
        to: String,
    },
    /// The command that brings it about failed.
    #[error("it did not reboot into the new version: {0}")]
    Refused(String),
    /// Time is up.
    #[error("out of time: {}{}", .phase.text(*.role), because(.detail))]
    Late {
        /// What it is for.
        role: Role,
        /// What it was at.
        phase: Phase,
        /// What is known of why.
        detail: Option<String>,
    },
}

fn because(detail: &Option<String>) -> String {
    detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default()
}

/// The next step of a machine towards the commit `target`; `late` when its time is up.
pub fn next(target: &str, seen: &Seen, late: bool) -> Step {
    let wait = |phase, detail| waited(seen, phase, detail, late);
    if let Apply::Refused { why } = &seen.apply {
        return Step::Failed(Why::Refused(why.clone()));
    }
    let Some(machine) = &seen.machine else {
        let told = matches!(seen.apply, Apply::Given { .. });
        return wait(if told { Phase::Rebooting } else { Phase::Unreachable }, None);
    };
    let is = |deployed: &Option<Deployed>| deployed.as_ref().is_some_and(|deployed| deployed.checksum == target);
    if is(&machine.booted) {
        return settled(machine, seen, late);
    }
    match &seen.apply {
        Apply::Given { boot } if *boot == machine.boot => wait(Phase::Draining, None),
        // Its first answers after a reboot may come before it can name what runs.
        Apply::Given { .. } => match &machine.booted {
            None => wait(Phase::Rebooting, None),
            Some(booted) => Step::Failed(Why::WentBack { to: booted.label().to_owned() }),
        },
        _ if late || machine.booted.is_none() => wait(Phase::Old, None),
        _ if is(&machine.staged) => Step::Apply,
        _ => Step::Stage,
    }
}

/// A machine that has the version: whether it is well.
fn settled(machine: &Observed, seen: &Seen, late: bool) -> Step {
    let wait = |phase, detail| waited(seen, phase, detail, late);
    if let Health::Bad(why) = &machine.health {
        return wait(Phase::Unwell, Some(why.clone()));
    }
    let node = match &seen.cluster {
        InCluster::Master { answers: false, .. } => {
            return wait(Phase::NotReady, Some("its API server does not answer".to_owned()));
        }
        InCluster::Master { node: None, .. } => return Step::Done,
        InCluster::Node(None) => return wait(Phase::NotReady, Some("the API does not have it".to_owned())),
        InCluster::Master { node: Some(node), .. } | InCluster::Node(Some(node)) => node,
    };
    // What the API says may be of the boot before.
    if node.boot.as_ref().is_some_and(|boot| *boot != machine.boot) {
        wait(Phase::NotReady, Some("the API has not heard of its new boot".to_owned()))
    } else if !node.ready {
        wait(Phase::NotReady, node.reason.clone())
    } else if node.cordoned {
        wait(Phase::Cordoned, Some(format!("`kubectl uncordon {}` lets pods in again", node.name)))
    } else {
        Step::Done
    }
}

fn waited(seen: &Seen, phase: Phase, detail: Option<String>, late: bool) -> Step {
    let role = seen.cluster.role();
    if late { Step::Failed(Why::Late { role, phase, detail }) } else { Step::Wait(phase) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "new";

    fn deployed(checksum: &str) -> Option<Deployed> {
        Some(Deployed { checksum: checksum.into(), version: Some(format!("v-{checksum}")), refspec: None })
    }

    fn machine(boot: &str, booted: &str, staged: Option<&str>) -> Observed {
        let staged = staged.and_then(deployed);
        Observed { boot: boot.into(), booted: deployed(booted), staged, health: Health::Good }
    }

    fn node(ready: bool, cordoned: bool) -> InCluster {
        let reason = (!ready).then(|| "kubelet is late".to_owned());
        InCluster::Node(Some(Node { name: "n1".into(), ready, reason, cordoned, boot: None }))
    }

    fn seen(machine: Option<Observed>, apply: Apply) -> Seen {
        Seen { machine, cluster: node(true, false), apply }
    }

    fn given() -> Apply {
        Apply::Given { boot: "b1".into() }
    }

    #[test]
    fn a_node_goes_the_whole_way() {
        let step = |seen: &Seen| next(NEW, seen, false);
        assert_eq!(step(&seen(Some(machine("b1", "old", None)), Apply::NotYet)), Step::Stage);
        assert_eq!(step(&seen(Some(machine("b1", "old", Some("older"))), Apply::NotYet)), Step::Stage);
        assert_eq!(step(&seen(Some(machine("b1", "old", Some(NEW))), Apply::NotYet)), Step::Apply);
        assert_eq!(step(&seen(Some(machine("b1", "old", Some(NEW))), given())), Step::Wait(Phase::Draining));
        assert_eq!(step(&seen(None, given())), Step::Wait(Phase::Rebooting));
        let mut back = seen(Some(machine("b2", NEW, None)), given());
        back.cluster = node(false, true);
        assert_eq!(step(&back), Step::Wait(Phase::NotReady));
        back.cluster = node(true, true);
        assert_eq!(step(&back), Step::Wait(Phase::Cordoned));
        back.cluster = node(true, false);
        assert_eq!(step(&back), Step::Done);
    }

    #[test]
    fn a_version_that_is_unwell_is_waited_for_until_it_goes_back() {
        let mut unwell = machine("b2", NEW, None);
        unwell.health = Health::Bad("web is down".into());
        assert_eq!(next(NEW, &seen(Some(unwell.clone()), given()), false), Step::Wait(Phase::Unwell));
        let late = next(NEW, &seen(Some(unwell), given()), true);
        assert!(matches!(&late, Step::Failed(why) if why.to_string().ends_with("web is down")), "{late:?}");
        let Step::Failed(why) = next(NEW, &seen(Some(machine("b3", "old", None)), given()), false) else { panic!() };
        assert_eq!(why.to_string(), "it went back to version v-old by itself");
    }

    #[test]
    fn what_the_api_says_of_the_boot_before_does_not_count() {
        let mut back = seen(Some(machine("b2", NEW, None)), given());
        let stale = Node { name: "n1".into(), ready: true, reason: None, cordoned: false, boot: Some("b1".into()) };
        back.cluster = InCluster::Node(Some(stale));
        assert_eq!(next(NEW, &back, false), Step::Wait(Phase::NotReady));
    }

    #[test]
    fn a_refusal_ends_it() {
        let refused = Apply::Refused { why: "a budget allows no eviction".into() };
        let step = next(NEW, &seen(Some(machine("b1", "old", Some(NEW))), refused), false);
        assert_eq!(step, Step::Failed(Why::Refused("a budget allows no eviction".into())));
    }

    #[test]
    fn a_run_that_was_broken_off_is_taken_up() {
        // Rebooted by the run before, not back yet; then back; then one that had it all along.
        assert_eq!(next(NEW, &seen(None, Apply::NotYet), false), Step::Wait(Phase::Unreachable));
        assert_eq!(next(NEW, &seen(Some(machine("b2", NEW, None)), Apply::NotYet), false), Step::Done);
        assert!(matches!(next(NEW, &seen(None, Apply::NotYet), true), Step::Failed(Why::Late { .. })));
        let Step::Failed(why) = next(NEW, &seen(Some(machine("b1", "old", None)), Apply::NotYet), true) else {
            panic!()
        };
        assert_eq!(why.to_string(), "out of time: still the old version");
    }

    #[test]
    fn the_master_is_judged_by_its_api_and_as_the_node_it_may_be() {
        let mut master = seen(Some(machine("b2", NEW, None)), given());
        let mut step = |answers, node| {
            master.cluster = InCluster::Master { answers, node };
            next(NEW, &master, false)
        };
        assert_eq!(step(false, None), Step::Wait(Phase::NotReady));
        // It was told to be none.
        assert_eq!(step(true, None), Step::Done);
        let node = Node { name: "m".into(), ready: true, reason: None, cordoned: false, boot: Some("b1".into()) };
        assert_eq!(step(true, Some(node.clone())), Step::Wait(Phase::NotReady));
        let node = Node { boot: Some("b2".into()), cordoned: true, ..node };
        assert_eq!(step(true, Some(node.clone())), Step::Wait(Phase::Cordoned));
        assert_eq!(step(true, Some(Node { cordoned: false, ..node })), Step::Done);
    }

    #[test]
    fn a_host_that_cannot_name_its_version_yet_did_not_go_back() {
        let mut early = machine("b2", "old", None);
        early.booted = None;
        assert_eq!(next(NEW, &seen(Some(early), given()), false), Step::Wait(Phase::Rebooting));
    }
}
