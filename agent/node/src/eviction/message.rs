//! Owns what is said of an evicted pod, in the kubelet's words: people and tools search for them. Pure.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::node::capacity::bytes;
use crate::spec::quantity::Amount;

use super::decide::{Met, Resource};
use super::usage::Used;

/// Why a pod was ended when the node was short of something.
pub fn low(pod: &Pod, met: Met, used: Option<&Used>) -> String {
    let resource = met.signal.resource();
    let name = resource.name();
    let threshold = amount(resource, met.threshold);
    let available = amount(resource, met.available);
    let mut message =
        format!("The node was low on resource: {name}. Threshold quantity: {threshold}, available: {available}. ");
    if resource.is_counted() {
        return message;
    }
    for (container, used) in used.into_iter().flat_map(|used| &used.containers) {
        let Some(request) = request(pod, container, name) else { continue };
        if i64::try_from(*used).unwrap_or(i64::MAX) > request.value() {
            let (used, request) = (amount(resource, *used), amount(resource, request.value().unsigned_abs()));
            message.push_str(&format!(
                "Container {container} was using {used}, request is {request}, has larger consumption of {name}. "
            ));
        }
    }
    message
}

/// What a container of the spec requests; nothing is said of ephemeral ones, which cannot.
fn request(pod: &Pod, container: &str, resource: &str) -> Option<Amount> {
    let spec = pod.spec.as_ref()?;
    let named = |c: &&Container| c.name == container;
    let container = spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(named)?;
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    Some(requests.and_then(|requests| requests.get(resource)).map(Amount::of).unwrap_or_default())
}

fn amount(resource: Resource, amount: u64) -> String {
    if resource.is_counted() { amount.to_string() } else { bytes(i64::try_from(amount).unwrap_or(i64::MAX)).0 }
}

/// A volume is larger than it may be.
pub fn volume(name: &str, limit: &str) -> String {
    format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. ")
}

/// A container has written more than it may.
pub fn container(name: &str, limit: &str) -> String {
    format!("Container {name} exceeded its local ephemeral storage limit {limit:?}. ")
}

/// A pod has written more than its containers may together.
pub fn whole(limit: &str) -> String {
    format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eviction::Signal;
    use serde_json::json;

    #[test]
    fn it_is_said_which_containers_use_more_than_requested() {
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [
            { "name": "a", "resources": { "requests": { "memory": "1Mi" } } }, { "name": "b" }, { "name": "c" },
        ] } }))
        .unwrap();
        let met = Met { signal: Signal::Memory, threshold: 100 << 20, available: 5 << 10 };
        let containers = [("a", 1 << 20), ("b", 3 << 10)].map(|(name, used)| (name.to_owned(), used)).to_vec();
        let used = Used { total: 0, containers };
        assert_eq!(
            low(&pod, met, Some(&used)),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 5Ki. \
             Container b was using 3Ki, request is 0, has larger consumption of memory. "
        );
    }

    #[test]
    fn what_is_counted_has_no_unit() {
        let met = Met { signal: Signal::Pids, threshold: 2048, available: 1024 };
        let message = low(&Pod::default(), met, None);
        assert_eq!(message, "The node was low on resource: pids. Threshold quantity: 2048, available: 1024. ");
        assert_eq!(volume("cache", "1Gi"), "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Gi\". ");
    }
}
