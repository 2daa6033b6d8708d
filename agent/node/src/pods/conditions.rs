//! Owns the conditions of a pod that are this node's to say; others' are handed on as they are.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The conditions that a kubelet owns.
const OURS: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
];

/// What this node may give a pod, and never takes back: others give it, too.
const GIVEN: &str = "DisruptionTarget";

/// Whether a condition of that type is this node's alone.
pub fn is_ours(kind: &str) -> bool {
    OURS.contains(&kind)
}

/// Whether a condition of that type is one that this node may give beside others.
pub fn is_given(kind: &str) -> bool {
    kind == GIVEN
}

/// What conditions are made of.
pub struct Wanted<'a> {
    /// The phase.
    pub phase: &'a str,
    /// The containers' statuses: init, then app.
    pub statuses: &'a [&'a ContainerStatus],
    /// Conditions about a resize: type, reason, message.
    pub resize: &'a [(&'static str, &'static str, String)],
    /// Now.
    pub now: Timestamp,
}

/// True or false, with reason and message.
type Finding = (bool, Option<String>, Option<String>);

/// All conditions of a pod: others' as they are, then this node's.
pub fn conditions(pod: &Pod, before: &PodStatus, sandbox: bool, wanted: &Wanted<'_>) -> Vec<PodCondition> {
    let in_api = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut all: Vec<PodCondition> = in_api.iter().filter(|condition| !is_ours(&condition.type_)).cloned().collect();
    // One that this node gave by itself and the API has not shown yet.
    let given = before.conditions.iter().flatten().filter(|condition| is_given(&condition.type_));
    for condition in given {
        if !all.iter().any(|other| other.type_ == condition.type_) {
            all.push(condition.clone());
        }
    }
    for (kind, reason, message) in wanted.resize {
        let finding = (true, Some((*reason).to_owned()), Some(message.clone()));
        all.push(condition(pod, before, kind, finding, wanted.now));
    }
    let containers = containers_ready(pod, wanted);
    let ready = ready(pod, &all, &containers);
    for (kind, finding) in [
        ("PodReadyToStartContainers", (sandbox, None, None)),
        ("Initialized", initialized(pod, wanted)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", (true, None, None)),
    ] {
        all.push(condition(pod, before, kind, finding, wanted.now));
    }
    all
}

fn condition(pod: &Pod, before: &PodStatus, kind: &str, finding: Finding, now: Timestamp) -> PodCondition {
    let status = if finding.0 { "True" } else { "False" };
    let old = before.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let since = old.filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: finding.1.filter(|reason| !reason.is_empty()),
        message: finding.2.filter(|message| !message.is_empty()),
        last_transition_time: since.or_else(|| Timestamp::from_second(now.as_second()).ok().map(Time)),
        last_probe_time: None,
        observed_generation: pod.metadata.generation,
    }
}

fn containers_ready(pod: &Pod, wanted: &Wanted<'_>) -> Finding {
    if wanted.phase == "Succeeded" {
        return (false, Some("PodCompleted".into()), None);
    }
    if wanted.phase == "Failed" {
        return (false, Some("PodFailed".into()), None);
    }
    let spec = pod.spec.as_ref();
    let sidecars = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let apps = spec.into_iter().flat_map(|spec| spec.containers.iter());
    let unready: Vec<&str> = sidecars
        .chain(apps)
        .map(|container| container.name.as_str())
        .filter(|name| !wanted.statuses.iter().any(|status| status.name == *name && status.ready))
        .collect();
    if unready.is_empty() {
        return (true, None, None);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    (false, Some("ContainersNotReady".into()), Some(message))
}

fn ready(pod: &Pod, conditions: &[PodCondition], containers: &Finding) -> Finding {
    if !containers.0 {
        return containers.clone();
    }
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let unmet: Vec<String> = gates
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match conditions.iter().find(|condition| condition.type_ == *kind) {
                None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
                Some(found) if found.status != "True" => {
                    Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but {}", found.status))
                }
                Some(_) => None,
            }
        })
        .collect();
    if unmet.is_empty() {
        return (true, None, None);
    }
    (false, Some("ReadinessGatesNotReady".into()), Some(unmet.join(", ")))
}

fn initialized(pod: &Pod, wanted: &Wanted<'_>) -> Finding {
    if wanted.phase == "Succeeded" {
        return (true, Some("PodCompleted".into()), None);
    }
    let find = |name: &str| wanted.statuses.iter().find(|status| status.name == name);
    let spec = pod.spec.as_ref();
    let app_started = spec.into_iter().flat_map(|spec| &spec.containers).any(|container| {
        find(&container.name).is_some_and(|status| {
            let state = status.state.as_ref();
            let last = status.last_state.as_ref();
            state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
                || last.is_some_and(|state| state.terminated.is_some())
        })
    });
    if app_started {
        return (true, None, None);
    }
    let done = |name: &str, sidecar: bool| {
        find(name).is_some_and(|status| {
            let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref());
            if sidecar { status.started == Some(true) } else { ended.is_some_and(|ended| ended.exit_code == 0) }
        })
    };
    let init = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let incomplete: Vec<&str> = init
        .filter(|container| !done(&container.name, container.restart_policy.as_deref() == Some("Always")))
        .map(|container| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return (true, None, None);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    (false, Some("ContainersNotInitialized".into()), Some(message))
}
