//! Owns what pods and containers ask for and are limited to: requests, limits, and the QoS class that
//! follows from them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity::Amount;

/// Amounts by the name of the resource: `cpu`, `memory`, `ephemeral-storage`, `hugepages-2Mi`.
pub type Amounts = BTreeMap<String, Amount>;

/// How well a pod is served when the node runs short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qos {
    /// Every container has limits for CPU and memory and requests as much.
    Guaranteed,
    /// Something is requested or limited.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::Guaranteed, Self::Burstable, Self::BestEffort];

    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// Whether a container of `initContainers` goes on running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The QoS class of a pod: what the API says, or else what follows from its containers.
pub fn qos(pod: &Pod) -> Qos {
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => Qos::Guaranteed,
        Some("Burstable") => Qos::Burstable,
        Some("BestEffort") => Qos::BestEffort,
        _ => computed_qos(pod),
    }
}

fn computed_qos(pod: &Pod) -> Qos {
    let Some(spec) = &pod.spec else { return Qos::BestEffort };
    let mut requests = Amounts::new();
    let mut limits = Amounts::new();
    let mut guaranteed = true;
    let mut take = |resources: Option<&ResourceRequirements>, limits_count: bool| {
        let own = computed(resources.and_then(|resources| resources.limits.as_ref()));
        guaranteed &= !limits_count || own.len() == 2;
        add(&mut limits, &own);
        add(&mut requests, &computed(resources.and_then(|resources| resources.requests.as_ref())));
    };
    let says = |whole: &&ResourceRequirements| whole.requests.is_some() || whole.limits.is_some();
    match spec.resources.as_ref().filter(says) {
        Some(whole) => take(Some(whole), whole.limits.as_ref().is_some_and(|limits| !limits.is_empty())),
        None => all_containers(pod).for_each(|container| take(container.resources.as_ref(), true)),
    }
    match (requests.is_empty() && limits.is_empty(), guaranteed && requests == limits) {
        (true, _) => Qos::BestEffort,
        (_, true) => Qos::Guaranteed,
        _ => Qos::Burstable,
    }
}

/// What counts for the class: CPU and memory, where there is some.
fn computed(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let mut amounts = amounts(list);
    amounts.retain(|name, amount| matches!(name.as_str(), "cpu" | "memory") && *amount > Amount::ZERO);
    amounts
}

/// What a pod requests as a whole, its overhead included: of its containers together or, where that is
/// more, of the greediest moment while it is initialized; of the pod where the pod says so itself.
pub fn pod_requests(pod: &Pod) -> Amounts {
    let mut amounts = pod_requests_without_overhead(pod);
    add(&mut amounts, &overhead(pod));
    amounts
}

/// What a pod requests of a resource, its overhead included.
pub fn requested(pod: &Pod, resource: &str) -> Amount {
    pod_requests(pod).remove(resource).unwrap_or_default()
}

/// What a pod is limited to of a resource; of what this may leave out, see [`pod_limits`].
pub fn limit(pod: &Pod, resource: &str) -> Option<Amount> {
    pod_limits(pod).remove(resource)
}

pub(super) fn pod_requests_without_overhead(pod: &Pod) -> Amounts {
    let mut amounts = aggregate(pod, requests);
    amounts.extend(whole(pod, |resources| resources.requests.as_ref()));
    amounts
}

/// What all containers of a pod request, whatever the pod says itself.
pub(super) fn container_requests(pod: &Pod) -> Amounts {
    aggregate(pod, requests)
}

/// What a pod is limited to as a whole, its overhead included where there is a limit. A resource that one
/// of the containers may use without limit has one here all the same, of the others: see
/// [`is_limited`].
pub fn pod_limits(pod: &Pod) -> Amounts {
    let mut amounts = pod_limits_without_overhead(pod);
    for (name, more) in overhead(pod) {
        if let Some(amount) = amounts.get_mut(&name).filter(|amount| !amount.is_zero()) {
            *amount += more;
        }
    }
    amounts
}

pub(super) fn pod_limits_without_overhead(pod: &Pod) -> Amounts {
    let mut amounts = aggregate(pod, limits);
    amounts.extend(whole(pod, |resources| resources.limits.as_ref()));
    amounts
}

/// Whether the whole pod has a limit of a resource: it says so itself, or each container has one. As the
/// kubelet has it, an init container counts with the sidecars that run beside it.
pub fn is_limited(pod: &Pod, resource: &str) -> bool {
    let positive = |amounts: &Amounts| amounts.get(resource).is_some_and(|amount| *amount > Amount::ZERO);
    if positive(&whole(pod, |resources| resources.limits.as_ref())) {
        return true;
    }
    let Some(spec) = &pod.spec else { return false };
    let mut beside = false;
    let inits = spec.init_containers.iter().flatten().all(|container| {
        let limited = beside || positive(&limits(container));
        beside |= limited && is_sidecar(container);
        limited
    });
    inits && spec.containers.iter().all(|container| positive(&limits(container)))
}

/// What a container requests.
pub fn requests(container: &Container) -> Amounts {
    amounts(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

/// What a container is limited to.
pub fn limits(container: &Container) -> Amounts {
    amounts(container.resources.as_ref().and_then(|resources| resources.limits.as_ref()))
}

/// What running the pod takes besides its containers, by its runtime class.
pub fn overhead(pod: &Pod) -> Amounts {
    amounts(pod.spec.as_ref().and_then(|spec| spec.overhead.as_ref()))
}

/// What the pod says of itself as a whole; only of the resources that it can say something of.
pub(super) fn whole(
    pod: &Pod,
    side: impl FnOnce(&ResourceRequirements) -> Option<&BTreeMap<String, Quantity>>,
) -> Amounts {
    let resources = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let mut amounts = amounts(resources.and_then(side));
    amounts.retain(|name, _| matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-"));
    amounts
}

fn aggregate(pod: &Pod, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let mut sum = Amounts::new();
    for container in &spec.containers {
        add(&mut sum, &of(container));
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let mut moment = of(container);
        if is_sidecar(container) {
            add(&mut sum, &moment);
            add(&mut sidecars, &moment);
            moment.clone_from(&sidecars);
        } else {
            add(&mut moment, &sidecars);
        }
        largest(&mut peak, moment);
    }
    largest(&mut sum, peak);
    sum
}

fn all_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.as_ref();
    spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
}

pub(super) fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    list.into_iter().flatten().map(|(name, quantity)| (name.clone(), Amount::of(quantity))).collect()
}

pub(super) fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *to.entry(name.clone()).or_default() += *amount;
    }
}

fn largest(of: &mut Amounts, others: Amounts) {
    for (name, amount) in others {
        let entry = of.entry(name).or_insert(amount);
        *entry = amount.max(*entry);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn container(name: &str, requests: Value, limits: Value) -> Value {
        json!({"name": name, "resources": {"requests": requests, "limits": limits}})
    }

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    #[test]
    fn the_class_follows_from_the_containers() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        let class = |containers: Value| qos(&pod(json!({"containers": containers})));
        assert_eq!(class(json!([container("a", full.clone(), full.clone())])), Qos::Guaranteed);
        assert_eq!(class(json!([{"name": "a"}])), Qos::BestEffort);
        assert_eq!(class(json!([container("a", json!({"cpu": "0"}), json!({}))])), Qos::BestEffort);
        assert_eq!(class(json!([container("a", full.clone(), full.clone()), {"name": "b"}])), Qos::Burstable);
        assert_eq!(
            class(json!([container("a", json!({"cpu": "500m", "memory": "1Gi"}), full.clone())])),
            Qos::Burstable
        );
        assert_eq!(class(json!([container("a", json!({"cpu": "1000m", "memory": "1024Mi"}), full)])), Qos::Guaranteed);
        assert_eq!(class(json!([container("a", json!({}), json!({"ephemeral-storage": "1Gi"}))])), Qos::BestEffort);
    }

    #[test]
    fn init_containers_count_for_the_class() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        let spec = json!({"containers": [container("a", full.clone(), full)], "initContainers": [{"name": "i"}]});
        assert_eq!(qos(&pod(spec)), Qos::Burstable);
    }

    #[test]
    fn the_pods_own_resources_decide_alone() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        let resources = json!({"requests": full, "limits": full});
        assert_eq!(qos(&pod(json!({"containers": [{"name": "a"}], "resources": resources}))), Qos::Guaranteed);
        let resources = json!({"requests": {"cpu": "1"}});
        assert_eq!(qos(&pod(json!({"containers": [{"name": "a"}], "resources": resources}))), Qos::Burstable);
    }

    #[test]
    fn a_pod_that_says_nothing_leaves_it_to_its_containers() {
        let asks = container("a", json!({"cpu": "1"}), json!({}));
        assert_eq!(qos(&pod(json!({"containers": [asks], "resources": {}}))), Qos::Burstable);
    }

    #[test]
    fn what_the_api_says_goes_first() {
        let mut pod = pod(json!({"containers": [{"name": "a"}]}));
        pod.status.get_or_insert_default().qos_class = Some("Guaranteed".into());
        assert_eq!(qos(&pod), Qos::Guaranteed);
    }

    #[test]
    fn init_containers_set_a_floor_and_sidecars_add_up() {
        let spec = json!({
            "containers": [container("a", json!({"cpu": "1", "memory": "1Gi"}), json!({}))],
            "initContainers": [
                container("i", json!({"cpu": "2"}), json!({})),
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}},
                container("j", json!({"cpu": "3"}), json!({})),
            ],
            "overhead": {"cpu": "250m"},
        });
        let requests = pod_requests(&pod(spec));
        assert_eq!(requests["cpu"], amount("3.75"));
        assert_eq!(requests["memory"], amount("2Gi"));
    }

    #[test]
    fn limits_hold_for_the_whole_only_if_each_has_one() {
        let limited = container("a", json!({}), json!({"memory": "1Gi"}));
        let one = pod(json!({"containers": [limited]}));
        assert!(is_limited(&one, "memory"));
        assert!(!is_limited(&one, "cpu"));
        let two = pod(json!({"containers": [limited, {"name": "b"}]}));
        assert!(!is_limited(&two, "memory"));
        let init = json!({"name": "i"});
        let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"limits": {"memory": "1Gi"}}});
        let beside = |inits: Value| pod(json!({"containers": [limited], "initContainers": inits}));
        assert!(is_limited(&beside(json!([sidecar, init])), "memory"));
        assert!(!is_limited(&beside(json!([init, sidecar])), "memory"));
        let whole = pod(json!({"containers": [{"name": "b"}], "resources": {"limits": {"memory": "2Gi"}}}));
        assert!(is_limited(&whole, "memory"));
        assert_eq!(pod_limits(&whole)["memory"], amount("2Gi"));
    }

    #[test]
    fn overhead_adds_to_limits_that_are_there() {
        let spec = json!({
            "containers": [container("a", json!({}), json!({"memory": "1Gi"}))],
            "overhead": {"cpu": "250m", "memory": "1Gi"},
        });
        let limits = pod_limits(&pod(spec));
        assert_eq!(limits["memory"], amount("2Gi"));
        assert!(!limits.contains_key("cpu"));
    }
}
