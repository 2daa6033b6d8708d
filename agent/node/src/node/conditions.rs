//! Owns the node's conditions: from how it is to what `kubectl describe node` shows. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::eviction::Pressure;

/// How the node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why it runs no pods; ready when empty.
    pub problems: Vec<String>,
    /// What it is short of.
    pub pressure: Pressure,
}

/// A condition as it should be.
struct Wanted {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
    /// The event when it came to be so.
    event: &'static str,
}

/// The conditions, and the events of those that turned. One that was so before keeps the time since
/// when it is.
pub fn conditions(
    health: &Health,
    observed: &[NodeCondition],
    now: Timestamp,
) -> (Vec<NodeCondition>, Vec<&'static str>) {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let mut events = Vec::new();
    let made = wanted(health).map(|wanted| {
        let status = if wanted.holds { "True" } else { "False" };
        let before = observed.iter().find(|condition| condition.type_ == wanted.kind);
        let same = before.filter(|before| before.status == status);
        if before.is_some() && same.is_none() {
            events.push(wanted.event);
        }
        let since = same.and_then(|same| same.last_transition_time.clone());
        NodeCondition {
            type_: wanted.kind.to_owned(),
            status: status.to_owned(),
            reason: Some(wanted.reason.to_owned()),
            message: Some(wanted.message),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        }
    });
    (made.into(), events)
}

/// Ready is the last, as it is in the kubelet's list.
fn wanted(health: &Health) -> [Wanted; 4] {
    let Pressure { memory, disk, pid } = health.pressure;
    [
        pressure(
            "MemoryPressure",
            memory,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available", "NodeHasInsufficientMemory"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasSufficientMemory"),
        ),
        pressure(
            "DiskPressure",
            disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"),
        ),
        pressure(
            "PIDPressure",
            pid,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available", "NodeHasInsufficientPID"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"),
        ),
        ready(&health.problems),
    ]
}

type Words = (&'static str, &'static str, &'static str);

fn pressure(kind: &'static str, holds: bool, yes: Words, no: Words) -> Wanted {
    let (reason, message, event) = if holds { yes } else { no };
    Wanted { kind, holds, reason, message: message.to_owned(), event }
}

fn ready(problems: &[String]) -> Wanted {
    let (reason, message, event) = match problems {
        [] => ("KubeletReady", "kubelet is posting ready status".to_owned(), "NodeReady"),
        [problem] => ("KubeletNotReady", problem.clone(), "NodeNotReady"),
        many => ("KubeletNotReady", format!("[{}]", many.join(", ")), "NodeNotReady"),
    };
    Wanted { kind: "Ready", holds: problems.is_empty(), reason, message, event }
}

/// Whether two conditions differ in more than their heartbeat.
pub fn differ(a: &NodeCondition, b: &NodeCondition) -> bool {
    let said =
        |c: &NodeCondition| (c.status.clone(), c.reason.clone(), c.message.clone(), c.last_transition_time.clone());
    said(a) != said(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_well_node_says_so_and_records_nothing_at_first() {
        let (conditions, events) = conditions(&Health::default(), &[], at(5));
        let said: Vec<_> = conditions.iter().map(|c| (c.type_.as_str(), c.status.as_str())).collect();
        let well =
            [("MemoryPressure", "False"), ("DiskPressure", "False"), ("PIDPressure", "False"), ("Ready", "True")];
        assert_eq!(said, well);
        assert_eq!(conditions[3].reason.as_deref(), Some("KubeletReady"));
        assert!(events.is_empty());
    }

    #[test]
    fn only_what_turns_gets_a_new_time_and_an_event() {
        let (first, _) = conditions(&Health::default(), &[], at(5));
        let ill = Health {
            problems: vec!["a".to_owned(), "b".to_owned()],
            pressure: Pressure { memory: true, ..Pressure::default() },
        };
        let (second, events) = conditions(&ill, &first, at(9));
        assert_eq!(events, ["NodeHasInsufficientMemory", "NodeNotReady"]);
        assert_eq!(second[3].message.as_deref(), Some("[a, b]"));
        assert_eq!(second[0].last_transition_time, Some(Time(at(9))));
        assert_eq!(second[1].last_transition_time, Some(Time(at(5))));
        assert_eq!(second[1].last_heartbeat_time, Some(Time(at(9))));
        assert!(!differ(&first[1], &second[1]) && differ(&first[3], &second[3]));
    }

    #[test]
    fn what_the_control_plane_called_unknown_turns_back() {
        let (mut before, _) = conditions(&Health::default(), &[], at(5));
        before[3].status = "Unknown".to_owned();
        let (after, events) = conditions(&Health::default(), &before, at(9));
        assert_eq!(events, ["NodeReady"]);
        assert_eq!(after[3].last_transition_time, Some(Time(at(9))));
    }
}
