//! Owns whether a pod may run on this node at all. What the scheduler looked at is looked at again:
//! the node may have changed, and nobody asked the scheduler about static pods. Pure.

mod affinity;

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

use crate::node::CRITICAL;

use super::quantity::Amount;
use super::requirements::{self, Amounts};
use super::{host, security, sysctls};

/// Why a pod does not run here. Its phase is `Failed` with this reason, and this message after
/// `Pod was rejected: `; the event has the message alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// As the kubelet has it: `OutOfcpu`, `NodeAffinity`, `SysctlForbidden`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl Rejection {
    fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }

    fn predicate(name: &'static str, message: &str) -> Self {
        Self::new(name, format!("Predicate {name} failed: {message}"))
    }
}

/// Whether a pod that is new to the agent may run beside `others`: those that were let in and have not
/// ended. After a restart of the agent pods are asked about in the order in which they were created. A
/// pod that has containers already needs no asking. `node` is this node as the API shows it; without it
/// only what does not depend on it is looked at.
pub fn admit<'a>(pod: &Pod, others: impl IntoIterator<Item = &'a Pod>, node: Option<&Node>) -> Result<(), Rejection> {
    decide(pod, &others.into_iter().collect::<Vec<_>>(), node, host::facts().apparmor)
}

fn decide(pod: &Pod, others: &[&Pod], node: Option<&Node>, apparmor: bool) -> Result<(), Rejection> {
    sysctls::check(pod).map_err(|message| Rejection::new("SysctlForbidden", message))?;
    if security::wants_apparmor(pod) && !apparmor {
        let message = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
        return Err(Rejection::new("AppArmor", message));
    }
    system(pod)?;
    let Some(node) = node else { return Ok(()) };
    groups_policy(pod, node)?;
    fits(pod, others, node)?;
    if !affinity::matches(pod, node) {
        return Err(Rejection::predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector"));
    }
    ports(pod, others)?;
    taints(pod, node)
}

/// Whether a pod came from a file on the node and not from the API.
pub fn is_static(pod: &Pod) -> bool {
    annotation(pod, "kubernetes.io/config.source").is_some_and(|source| source != "api")
}

/// Whether the node does worse without the pod than without any other: a static pod, or one of the
/// system's own priority.
pub fn is_critical(pod: &Pod) -> bool {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default();
    is_static(pod) || annotation(pod, "kubernetes.io/config.mirror").is_some() || priority >= CRITICAL
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn system(pod: &Pod) -> Result<(), Rejection> {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/os"));
    if label.is_some_and(|label| label != "linux") {
        let message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label";
        return Err(Rejection::new("PodOSSelectorNodeLabelDoesNotMatch", message));
    }
    if pod.spec.as_ref().and_then(|spec| spec.os.as_ref()).is_some_and(|os| os.name != "linux") {
        let message = "Failed to admit pod as the OS field doesn't match node OS";
        return Err(Rejection::new("PodOSNotSupported", message));
    }
    Ok(())
}

fn groups_policy(pod: &Pod, node: &Node) -> Result<(), Rejection> {
    let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let strict = security.and_then(|security| security.supplemental_groups_policy.as_deref()) == Some("Strict");
    let features = node.status.as_ref().and_then(|status| status.features.as_ref());
    if strict && features.and_then(|features| features.supplemental_groups_policy) != Some(true) {
        let message = "SupplementalGroupsPolicy=Strict is not supported in this node";
        return Err(Rejection::new("SupplementalGroupsPolicyNotSupported", message));
    }
    Ok(())
}

/// Whether a pod that runs may have the limits that it wants now. Otherwise whether it never will
/// (`Infeasible`) or not yet (`Deferred`), and why.
pub fn resizes<'a>(
    pod: &Pod,
    others: impl IntoIterator<Item = &'a Pod>,
    node: Option<&Node>,
) -> Result<(), (&'static str, String)> {
    let Some(node) = node else { return Ok(()) };
    fits(pod, &[], node).map_err(|rejection| ("Infeasible", rejection.message))?;
    let others: Vec<&Pod> = others.into_iter().collect();
    fits(pod, &others, node).map_err(|rejection| ("Deferred", rejection.message))
}

/// Whether there is enough of everything for one more.
fn fits(pod: &Pod, others: &[&Pod], node: &Node) -> Result<(), Rejection> {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let allocatable = requirements::amounts(allocatable);
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    let pods = allocatable.get("pods").copied().unwrap_or_default().value();
    if count >= pods {
        return Err(insufficient("pods", 1, count, pods));
    }
    let mut used = Amounts::new();
    others.iter().for_each(|other| requirements::add(&mut used, &requirements::pod_requests(other)));
    for (name, requested) in requirements::pod_requests(pod) {
        // What the node does not know of is somebody else's to watch over.
        let known = allocatable.get(&name);
        if requested.is_zero() || (known.is_none() && name.contains('/')) {
            continue;
        }
        let known = known.copied().unwrap_or_default();
        let used = used.get(&name).copied().unwrap_or_default();
        if requested > known - used {
            let count = |amount: Amount| if name == "cpu" { amount.milli() } else { amount.value() };
            return Err(insufficient(&name, count(requested), count(used), count(known)));
        }
    }
    Ok(())
}

fn insufficient(resource: &str, requested: i64, used: i64, capacity: i64) -> Rejection {
    let message = format!(
        "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    );
    Rejection::new(format!("OutOf{resource}"), message)
}

/// Whether the ports that the pod wants of the host are free.
fn ports(pod: &Pod, others: &[&Pod]) -> Result<(), Rejection> {
    let taken: Vec<_> = others.iter().flat_map(|other| host_ports(other)).collect();
    let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    let clash = |(ip, protocol, port): &(String, String, i32)| {
        let same = |other: &&(String, String, i32)| &other.1 == protocol && other.2 == *port;
        taken.iter().filter(same).any(|other| any(ip) || any(&other.0) || &other.0 == ip)
    };
    match host_ports(pod).any(|port| clash(&port)) {
        true => Err(Rejection::predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")),
        false => Ok(()),
    }
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = (String, String, i32)> {
    let spec = pod.spec.as_ref();
    let sidecars = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let sidecars = sidecars.filter(|container| requirements::is_sidecar(container));
    let containers = spec.into_iter().flat_map(|spec| spec.containers.iter()).chain(sidecars);
    containers.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
        let number = port.host_port.filter(|port| *port > 0)?;
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some((port.host_ip.clone().unwrap_or_default(), protocol, number))
    })
}

/// Whether the pod stands the taints that would end it at once.
fn taints(pod: &Pod, node: &Node) -> Result<(), Rejection> {
    if is_static(pod) {
        return Ok(());
    }
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let mut deadly = taints.iter().filter(|taint| taint.effect == "NoExecute");
    match deadly.all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint))) {
        true => Ok(()),
        false => Err(Rejection::predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")),
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if given(&toleration.effect).is_some_and(|effect| effect != taint.effect)
        || given(&toleration.key).is_some_and(|key| key != taint.key)
    {
        return false;
    }
    match toleration.operator.as_deref() {
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
        }
        Some("Exists") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
