//! Owns what a pod asks for as a whole, and its class: sums over its containers with the rules for init
//! containers, sidecars, pod-level resources and overhead. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::spec::quantity::Amount;

/// The class of a pod by what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qos {
    /// Every container has limits that equal its requests.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is asked for.
    BestEffort,
}

impl Qos {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::Guaranteed, Self::Burstable, Self::BestEffort];

    /// The class of a pod: as the API has set it, which stays through changes in place; worked out for
    /// a pod the API has not seen yet.
    pub fn of(pod: &Pod) -> Self {
        match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
            Some("Guaranteed") => Self::Guaranteed,
            Some("Burstable") => Self::Burstable,
            Some("BestEffort") => Self::BestEffort,
            _ => pod.spec.as_ref().map_or(Self::BestEffort, classify),
        }
    }
}

type Amounts = Option<BTreeMap<String, Quantity>>;

fn amount(amounts: &Amounts, resource: &str) -> Option<Amount> {
    amounts.as_ref().and_then(|amounts| amounts.get(resource)).map(Amount::of)
}

fn classify(spec: &PodSpec) -> Qos {
    let whole = spec.resources.as_ref().filter(|whole| whole.requests.is_some() || whole.limits.is_some());
    let parts: Vec<_> = match whole {
        Some(whole) => vec![(&whole.requests, &whole.limits)],
        None => {
            let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            let resources = containers.map(|container| container.resources.as_ref());
            resources.map(|r| r.map_or((&None, &None), |r| (&r.requests, &r.limits))).collect()
        }
    };
    let set = |amounts: &Amounts, name: &str| amount(amounts, name).filter(|amount| !amount.is_zero());
    let names = ["cpu", "memory"];
    let asks = |&(requests, limits): &(&Amounts, &Amounts)| {
        names.iter().any(|name| set(requests, name).is_some() || set(limits, name).is_some())
    };
    if !parts.iter().any(asks) {
        return Qos::BestEffort;
    }
    // The API gives who has only a limit an equal request.
    let firm = |&(requests, limits): &(&Amounts, &Amounts)| {
        names.iter().all(|name| {
            let limit = set(limits, name);
            limit.is_some() && set(requests, name).is_none_or(|request| Some(request) == limit)
        })
    };
    if parts.iter().all(firm) { Qos::Guaranteed } else { Qos::Burstable }
}

/// What a pod may need at once, and whether each of its containers says so.
struct Sum {
    total: Amount,
    /// At least one container says something.
    any: bool,
    /// Every container says something.
    all: bool,
}

/// Sidecars run beside everything after them; other init containers one after another, before the rest.
fn sum(spec: &PodSpec, of: impl Fn(&Container) -> Option<Amount>) -> Sum {
    let mut sum = Sum { total: Amount::ZERO, any: false, all: true };
    for amount in spec.containers.iter().map(&of) {
        sum.total += amount.unwrap_or_default();
        sum.any |= amount.is_some();
        sum.all &= amount.is_some_and(|amount| !amount.is_zero());
    }
    let (mut sidecars, mut starting) = (Amount::ZERO, Amount::ZERO);
    for container in spec.init_containers.iter().flatten() {
        let amount = of(container);
        let needed = sidecars + amount.unwrap_or_default();
        if container.restart_policy.as_deref() == Some("Always") {
            sum.total += amount.unwrap_or_default();
            sidecars = needed;
        }
        sum.any |= amount.is_some();
        sum.all &= !needed.is_zero();
        starting = starting.max(needed);
    }
    sum.total = sum.total.max(starting);
    sum
}

/// What is set for the pod as a whole; possible for these resources only.
fn whole(spec: &PodSpec, resource: &str, limits: bool) -> Option<Amount> {
    let resources = spec.resources.as_ref().filter(|_| resource == "cpu" || resource == "memory")?;
    amount(if limits { &resources.limits } else { &resources.requests }, resource)
}

/// What a pod requests of a resource, its overhead included.
pub fn requested(pod: &Pod, resource: &str) -> Amount {
    let Some(spec) = &pod.spec else { return Amount::ZERO };
    let own = whole(spec, resource, false)
        .unwrap_or_else(|| sum(spec, |c| c.resources.as_ref().and_then(|r| amount(&r.requests, resource))).total);
    own + amount(&spec.overhead, resource).unwrap_or_default()
}

/// What a pod is limited to: nothing when no part of it has a limit. See [`limited_throughout`].
pub fn limit(pod: &Pod, resource: &str) -> Option<Amount> {
    let spec = pod.spec.as_ref()?;
    let parts = limits(spec, resource);
    let own = whole(spec, resource, true).or(parts.any.then_some(parts.total))?;
    let overhead = if own.is_zero() { None } else { amount(&spec.overhead, resource) };
    Some(own + overhead.unwrap_or_default())
}

/// Whether the sum of limits binds the pod: it has one as a whole, or each container has its own.
pub fn limited_throughout(pod: &Pod, resource: &str) -> bool {
    let Some(spec) = &pod.spec else { return false };
    whole(spec, resource, true).is_some_and(|whole| !whole.is_zero()) || limits(spec, resource).all
}

fn limits(spec: &PodSpec, resource: &str) -> Sum {
    sum(spec, |c| c.resources.as_ref().and_then(|r| amount(&r.limits, resource)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    fn container(requests: Value, limits: Value) -> Value {
        json!({ "name": "c", "resources": { "requests": requests, "limits": limits } })
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        let none = pod(json!({ "containers": [container(json!({}), json!({}))] }));
        assert_eq!(Qos::of(&none), Qos::BestEffort);
        let both = json!({ "cpu": "1", "memory": "1Gi" });
        let equal = json!({ "cpu": "1000m", "memory": "1024Mi" });
        let firm = pod(json!({ "containers": [container(equal.clone(), both.clone())] }));
        assert_eq!(Qos::of(&firm), Qos::Guaranteed);
        let partly = pod(json!({ "containers": [container(equal.clone(), both.clone()), { "name": "d" }] }));
        assert_eq!(Qos::of(&partly), Qos::Burstable);
        let less = pod(json!({ "containers": [container(json!({ "cpu": "1" }), both.clone())] }));
        assert_eq!(Qos::of(&less), Qos::Guaranteed);
        let less = pod(json!({ "containers": [container(json!({ "cpu": "500m" }), both.clone())] }));
        assert_eq!(Qos::of(&less), Qos::Burstable);
        let whole = pod(json!({ "containers": [{ "name": "c" }], "resources": { "requests": equal, "limits": both } }));
        assert_eq!(Qos::of(&whole), Qos::Guaranteed);
        let storage = pod(json!({ "containers": [container(json!({ "ephemeral-storage": "1Gi" }), json!({}))] }));
        assert_eq!(Qos::of(&storage), Qos::BestEffort);
    }

    #[test]
    fn the_class_that_the_api_has_set_stays() {
        let mut pod = pod(json!({ "containers": [{ "name": "c" }] }));
        pod.status = serde_json::from_value(json!({ "qosClass": "Guaranteed" })).unwrap();
        assert_eq!(Qos::of(&pod), Qos::Guaranteed);
    }

    #[test]
    fn init_containers_count_by_the_most_and_sidecars_with_the_rest() {
        let init = |cpu: &str, policy: Option<&str>| json!({ "name": "i", "restartPolicy": policy, "resources": { "requests": { "cpu": cpu } } });
        let pod = pod(json!({
            "initContainers": [init("1", Some("Always")), init("3", None), init("500m", None)],
            "containers": [container(json!({ "cpu": "1" }), json!({})), container(json!({ "cpu": "1" }), json!({}))],
            "overhead": { "cpu": "100m" },
        }));
        // 3 of the init container beside the sidecar's 1, against 1 + 1 + 1 when all run.
        assert_eq!(requested(&pod, "cpu").milli(), 4100);
        assert_eq!(requested(&pod, "memory"), Amount::ZERO);
    }

    #[test]
    fn limits_bind_only_when_nobody_is_without() {
        let one = container(json!({}), json!({ "cpu": "1", "memory": "64Mi" }));
        let pod_of = |containers: Value| pod(json!({ "containers": containers }));
        let all = pod_of(json!([one, one]));
        assert_eq!(limit(&all, "memory").unwrap().value(), 128 << 20);
        assert!(limited_throughout(&all, "memory"));
        let some = pod_of(json!([one, { "name": "d" }]));
        assert_eq!(limit(&some, "cpu").unwrap().milli(), 1000);
        assert!(!limited_throughout(&some, "cpu"));
        let whole = pod(json!({ "containers": [{ "name": "c" }], "resources": { "limits": { "cpu": "2" } } }));
        assert_eq!(limit(&whole, "cpu").unwrap().milli(), 2000);
        assert!(limited_throughout(&whole, "cpu"));
        assert_eq!(limit(&whole, "memory"), None);
    }
}
