//! Owns noticing that kube-proxy runs on this node, which then has the Services to itself.

use k8s_openapi::api::core::v1::Pod;

use crate::pods::Registry;

/// The pod that is kube-proxy, if there is one and it is not going.
pub(super) fn kube_proxy(pods: &Registry) -> Option<String> {
    let pods = pods.list();
    let found = pods.iter().find(|view| !view.terminating && is_kube_proxy(&view.pod));
    found.map(|view| view.pod.metadata.name.clone().unwrap_or_default())
}

fn is_kube_proxy(pod: &Pod) -> bool {
    let labelled = pod.metadata.labels.as_ref().and_then(|labels| labels.get("k8s-app"));
    let system = pod.metadata.namespace.as_deref() == Some("kube-system");
    let label = system && labelled.is_some_and(|app| app == "kube-proxy");
    let spec = pod.spec.as_ref();
    // A pod with a network of its own cannot be it, whatever its container is called.
    let host = spec.is_some_and(|spec| spec.host_network == Some(true));
    label || host && spec.is_some_and(|spec| spec.containers.iter().any(|container| container.name == "kube-proxy"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(pod: Value) -> bool {
        is_kube_proxy(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn it_is_known_by_its_label_or_its_container() {
        let containers = |name: &str| json!([{"name": name}]);
        let labels = json!({"k8s-app": "kube-proxy"});
        let spec = json!({"containers": containers("proxy")});
        assert!(found(json!({"metadata": {"namespace": "kube-system", "labels": labels}, "spec": spec})));
        assert!(!found(json!({"metadata": {"namespace": "default", "labels": labels}, "spec": spec})));
        assert!(found(json!({"metadata": {}, "spec": {"hostNetwork": true, "containers": containers("kube-proxy")}})));
        assert!(!found(json!({"metadata": {}, "spec": {"containers": containers("kube-proxy")}})));
    }
}
