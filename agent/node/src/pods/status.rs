//! Owns the status of a pod as the API shows it: a pure function of what is wanted, what containerd
//! says, what is remembered and what was said before.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, HostIP, LinuxContainerUser, Pod, PodIP, PodStatus, ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{Wanted, conditions};
use super::observe::{Observed, Seen};
use super::shape::Shape;
use super::{ContainerKind, Member};
use crate::probes::Findings;

/// What a status is made of.
pub struct Facts<'a> {
    /// What is wanted.
    pub pod: &'a Pod,
    /// Its containers.
    pub shape: &'a Shape,
    /// What containerd says.
    pub observed: &'a Observed,
    /// What was said before: by this node, or in the API.
    pub before: &'a PodStatus,
    /// What probes say, by container id.
    pub findings: &'a HashMap<String, Findings>,
    /// Containers whose `postStart` hook has not ended.
    pub starting: &'a [String],
    /// Why containers wait, by name: reason and message.
    pub waiting: &'a BTreeMap<String, (String, String)>,
    /// Termination messages by container id.
    pub messages: &'a HashMap<String, String>,
    /// The limits that running containers have, by container id.
    pub applied: &'a HashMap<String, ResourceRequirements>,
    /// Conditions about a resize: type, reason, message.
    pub resize: &'a [(&'static str, &'static str, String)],
    /// The host's addresses.
    pub host_ips: &'a [String],
    /// The QoS class.
    pub qos: &'a str,
    /// Nothing is started any more: the pod is over, or goes.
    pub terminal: bool,
    /// `Failed`, for a reason of the node's own: reason and message.
    pub failed: Option<&'a (String, String)>,
    /// Now.
    pub now: Timestamp,
}

/// Makes the status.
pub fn status(facts: &Facts<'_>) -> PodStatus {
    let pod = facts.pod;
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let before = facts.before;
    let of = |members: &[Member], old: &Option<Vec<ContainerStatus>>| {
        let old = old.as_deref().unwrap_or_default();
        let statuses: Vec<_> = members.iter().map(|member| container(facts, member, old)).collect();
        (!statuses.is_empty()).then_some(statuses)
    };
    let init = of(&facts.shape.init, &before.init_container_statuses);
    let app = of(&facts.shape.app, &before.container_statuses);
    let ephemeral = of(&facts.shape.ephemeral, &before.ephemeral_container_statuses);
    let all: Vec<&ContainerStatus> = init.iter().flatten().chain(app.iter().flatten()).collect();
    let mut phase = phase(facts, &all);
    let terminal = |phase: &str| phase == "Failed" || phase == "Succeeded";
    let former = [before.phase.as_deref(), pod.status.as_ref().and_then(|status| status.phase.as_deref())];
    if let Some(former) = former.into_iter().flatten().find(|former| terminal(former)) {
        // There is no way back.
        phase = if former == "Failed" { "Failed" } else { "Succeeded" };
    }
    let (mut reason, mut message) = if before.phase.as_deref() == Some(phase) {
        (before.reason.clone(), before.message.clone())
    } else {
        (None, None)
    };
    if let Some((why, words)) = facts.failed {
        phase = "Failed";
        (reason, message) = (Some(why.clone()), Some(words.clone()));
    }
    let sandbox_ips = facts.observed.sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
    let ips: Vec<PodIP> = match (host_network, sandbox_ips.is_empty()) {
        (true, _) => facts.host_ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect(),
        (false, false) => sandbox_ips.into_iter().map(|ip| PodIP { ip }).collect(),
        // Kept for people to see after the pod is over.
        (false, true) => before.pod_ips.clone().unwrap_or_default(),
    };
    let wanted = Wanted { phase, statuses: &all, resize: facts.resize, now: facts.now };
    PodStatus {
        conditions: Some(conditions(pod, before, facts.observed.sandbox().is_some(), &wanted)),
        container_statuses: app,
        ephemeral_container_statuses: ephemeral,
        host_ip: facts.host_ips.first().cloned(),
        host_ips: Some(facts.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        init_container_statuses: init,
        message,
        nominated_node_name: before.nominated_node_name.clone(),
        observed_generation: pod.metadata.generation,
        phase: Some(phase.to_owned()),
        pod_ip: ips.first().map(|ip| ip.ip.clone()),
        pod_ips: (!ips.is_empty()).then_some(ips),
        qos_class: Some(facts.qos.to_owned()),
        reason,
        resource_claim_statuses: before.resource_claim_statuses.clone(),
        start_time: before.start_time.clone().or(Some(Time(whole_second(facts.now)))),
        ..PodStatus::default()
    }
}

/// The API keeps whole seconds: what it gives back shall be what was sent.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn time(nanoseconds: i64) -> Option<Time> {
    (nanoseconds > 0).then(|| Timestamp::from_second(nanoseconds / 1_000_000_000).ok().map(Time)).flatten()
}

fn container(facts: &Facts<'_>, member: &Member, old: &[ContainerStatus]) -> ContainerStatus {
    let name = &member.spec.name;
    let old = old.iter().find(|status| status.name == *name);
    let latest = facts.observed.latest(name);
    let waiting = facts.waiting.get(name);
    let mut status = ContainerStatus {
        name: name.clone(),
        image: member.spec.image.clone().unwrap_or_default(),
        restart_count: old.map_or(0, |old| old.restart_count),
        last_state: Some(old.and_then(|old| old.last_state.clone()).unwrap_or_default()),
        started: Some(false),
        volume_mounts: volume_mounts(member),
        ..ContainerStatus::default()
    };
    match latest {
        Some(seen) => from_seen(facts, member, seen, old, &mut status),
        None => unseen(facts, member, old, &mut status),
    }
    let restarting = match latest {
        None => true,
        Some(seen) if seen.exited() => facts.shape.restarts(member, seen.status.exit_code),
        Some(seen) => !seen.running(),
    };
    // With a reason to wait, a container that shall be started again waits.
    if let Some((reason, message)) = waiting.filter(|_| restarting && !facts.terminal) {
        let state = status.state.take().unwrap_or_default();
        if state.terminated.is_some() {
            status.last_state = Some(state);
        }
        status.state = Some(wait(reason, message));
    }
    status
}

fn wait(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    }
}

fn initial(facts: &Facts<'_>, member: &Member) -> ContainerState {
    let initializing = !facts.shape.init.is_empty() && member.kind != ContainerKind::Ephemeral;
    wait(if initializing { "PodInitializing" } else { "ContainerCreating" }, "")
}

/// A container that containerd does not have.
fn unseen(facts: &Facts<'_>, member: &Member, old: Option<&ContainerStatus>, status: &mut ContainerStatus) {
    let state = old.and_then(|old| old.state.clone()).unwrap_or_default();
    status.state = Some(initial(facts, member));
    if state.terminated.is_some() {
        status.container_id = old.and_then(|old| old.container_id.clone());
        status.image_id = old.map(|old| old.image_id.clone()).unwrap_or_default();
        status.state = Some(state);
        return;
    }
    let app_made = facts.shape.app.iter().any(|member| facts.observed.latest(&member.spec.name).is_some());
    if member.kind == ContainerKind::Init && app_made {
        let done = ContainerStateTerminated { reason: Some("Completed".into()), ..ContainerStateTerminated::default() };
        status.state = Some(ContainerState { terminated: Some(done), ..ContainerState::default() });
        return;
    }
    if state.running.is_some() {
        let lost = ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container ran and is not in containerd any more".into()),
            ..ContainerStateTerminated::default()
        };
        let lost = ContainerState { terminated: Some(lost), ..ContainerState::default() };
        if facts.terminal {
            status.state = Some(lost);
        } else {
            status.last_state = Some(lost);
            status.restart_count += i32::from(facts.pod.metadata.deletion_timestamp.is_none());
        }
    }
}

fn from_seen(
    facts: &Facts<'_>,
    member: &Member,
    seen: &Seen,
    old: Option<&ContainerStatus>,
    status: &mut ContainerStatus,
) {
    let says = &seen.status;
    let id = format!("containerd://{}", seen.id);
    let findings = facts.findings.get(&seen.id);
    status.restart_count = i32::try_from(seen.attempt).unwrap_or(i32::MAX);
    if !says.image.as_ref().is_none_or(|image| image.image.is_empty() || image.image.starts_with("sha256:")) {
        status.image = says.image.as_ref().map(|image| image.image.clone()).unwrap_or_default();
    }
    status.image_id = says.image_ref.clone();
    status.container_id = Some(id.clone());
    status.user = says.user.as_ref().and_then(|user| user.linux.as_ref()).map(|user| ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: user.uid,
            gid: user.gid,
            supplemental_groups: Some(user.supplemental_groups.clone()),
        }),
    });
    if let Some(previous) = facts.observed.previous(&seen.name) {
        status.last_state = Some(terminated(facts, previous));
    } else if let Some(old) = old.filter(|old| old.container_id.as_ref().is_some_and(|old| *old != id))
        && old.state.as_ref().is_some_and(|state| state.terminated.is_some())
    {
        status.last_state.clone_from(&old.state);
    }
    status.state = Some(match () {
        () if seen.running() && facts.starting.contains(&seen.id) => initial(facts, member),
        () if seen.running() => ContainerState {
            running: Some(ContainerStateRunning { started_at: time(says.started_at) }),
            ..ContainerState::default()
        },
        () if seen.exited() => terminated(facts, seen),
        () => initial(facts, member),
    });
    if seen.running() && !facts.starting.contains(&seen.id) {
        status.started = Some(findings.is_none_or(|findings| findings.started));
        status.ready = findings.is_some_and(|findings| findings.ready);
    } else if member.kind == ContainerKind::Init {
        status.ready = seen.exited() && says.exit_code == 0;
    }
    if member.kind == ContainerKind::Ephemeral {
        (status.ready, status.started) = (false, None);
        return;
    }
    let resources = facts.applied.get(&seen.id).filter(|_| seen.running());
    let resources = resources.or(member.spec.resources.as_ref()).cloned().unwrap_or_default();
    status.allocated_resources.clone_from(&resources.requests);
    status.resources = Some(resources);
}

fn terminated(facts: &Facts<'_>, seen: &Seen) -> ContainerState {
    let says = &seen.status;
    let reason = match (says.reason.as_str(), says.exit_code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (reason, _) => reason,
    };
    let message = facts.messages.get(&seen.id).filter(|message| !message.is_empty()).cloned();
    let terminated = ContainerStateTerminated {
        container_id: Some(format!("containerd://{}", seen.id)),
        exit_code: says.exit_code,
        finished_at: time(says.finished_at),
        message: message.or_else(|| (!says.message.is_empty()).then(|| says.message.clone())),
        reason: Some(reason.to_owned()),
        signal: None,
        started_at: time(says.started_at),
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

fn volume_mounts(member: &Member) -> Option<Vec<VolumeMountStatus>> {
    let mounts = member.spec.volume_mounts.iter().flatten().map(|mount| VolumeMountStatus {
        mount_path: mount.mount_path.clone(),
        name: mount.name.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true)).then(|| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    });
    let mounts: Vec<_> = mounts.collect();
    (!mounts.is_empty()).then_some(mounts)
}

/// How a container counts for the phase.
enum Stand<'a> {
    Running,
    Waiting,
    Ended(&'a ContainerStateTerminated),
}

fn stand(status: &ContainerStatus) -> Stand<'_> {
    let state = status.state.as_ref();
    if state.is_some_and(|state| state.running.is_some()) {
        return Stand::Running;
    }
    let ended = state.and_then(|state| state.terminated.as_ref());
    let before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    ended.or(before).map_or(Stand::Waiting, Stand::Ended)
}

fn phase(facts: &Facts<'_>, statuses: &[&ContainerStatus]) -> &'static str {
    let shape = facts.shape;
    let find = |member: &Member| statuses.iter().find(|status| status.name == member.spec.name);
    let initialized = shape
        .app
        .iter()
        .any(|member| facts.observed.current(&member.spec.name).is_some_and(|seen| seen.status.started_at > 0));
    let (mut pending, mut running) = (false, 0);
    for member in &shape.init {
        let Some(status) = find(member) else { continue };
        match (member.kind, stand(status)) {
            (ContainerKind::Sidecar, Stand::Running) => {
                running += 1;
                pending |= status.started != Some(true) && !initialized;
            }
            (ContainerKind::Sidecar, Stand::Waiting) => pending |= !initialized,
            (ContainerKind::Sidecar, Stand::Ended(_)) => {}
            (_, Stand::Ended(ended)) if ended.exit_code == 0 => {}
            (_, Stand::Ended(ended)) => {
                if !shape.restarts(member, ended.exit_code) {
                    return "Failed";
                }
                pending = true;
            }
            _ => pending = true,
        }
    }
    let (mut waiting, mut stopped, mut succeeded, mut over) = (0, 0, 0, 0);
    for member in &shape.app {
        let Some(status) = find(member) else { continue };
        match stand(status) {
            Stand::Running => running += 1,
            Stand::Waiting => waiting += 1,
            Stand::Ended(ended) => {
                stopped += 1;
                succeeded += u32::from(ended.exit_code == 0);
                over += u32::from(!shape.restarts(member, ended.exit_code));
            }
        }
    }
    match () {
        () if pending || waiting > 0 => "Pending",
        () if running > 0 => "Running",
        () if stopped > 0 && !facts.terminal && over < stopped => "Running",
        () if stopped > 0 && succeeded == stopped => "Succeeded",
        () if stopped > 0 => "Failed",
        () => "Pending",
    }
}
