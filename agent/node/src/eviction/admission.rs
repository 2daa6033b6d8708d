//! Owns which pods may not start while the node is short of something. Pure.

use k8s_openapi::api::core::v1::{Pod, Toleration};

use super::{Pressure, REASON};
use crate::spec::{Qos, is_critical, qos};

const TAINT: &str = "node.kubernetes.io/memory-pressure";

/// Whether a pod may start; reason and message otherwise. Short of memory, only pods that request none
/// are refused, unless they tolerate it; short of anything else, all but critical ones.
pub fn admits(pressure: Pressure, pod: &Pod) -> Result<(), (&'static str, String)> {
    if !pressure.any() || is_critical(pod) {
        return Ok(());
    }
    let only_memory = !pressure.disk && !pressure.pid;
    if only_memory && (qos(pod) != Qos::BestEffort || tolerates(pod)) {
        return Ok(());
    }
    let conditions =
        [(pressure.memory, "MemoryPressure"), (pressure.disk, "DiskPressure"), (pressure.pid, "PIDPressure")];
    let named: Vec<_> = conditions.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name).collect();
    Err((REASON, format!("The node had condition: [{}]. ", named.join(" "))))
}

fn tolerates(pod: &Pod) -> bool {
    let tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
    tolerations.into_iter().any(|toleration: &Toleration| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (key, effect, value) = (text(&toleration.key), text(&toleration.effect), text(&toleration.value));
        let exists = toleration.operator.as_deref() == Some("Exists");
        let keyed = key == TAINT || (key.is_empty() && exists);
        keyed && (effect.is_empty() || effect == "NoSchedule") && (exists || value.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({ "spec": spec })).unwrap()
    }

    const MEMORY: Pressure = Pressure { memory: true, disk: false, pid: false };
    const DISK: Pressure = Pressure { memory: true, disk: true, pid: false };

    #[test]
    fn short_of_memory_only_pods_without_requests_are_refused() {
        let none = pod(json!({ "containers": [{ "name": "c" }] }));
        assert_eq!(admits(Pressure::default(), &none), Ok(()));
        let refusal = admits(MEMORY, &none).unwrap_err();
        assert_eq!(refusal, ("Evicted", "The node had condition: [MemoryPressure]. ".to_owned()));
        let some = pod(json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1" } } }] }));
        assert_eq!(admits(MEMORY, &some), Ok(()));
        let tolerant = json!([{ "key": TAINT, "operator": "Exists" }]);
        assert_eq!(admits(MEMORY, &pod(json!({ "containers": [], "tolerations": tolerant }))), Ok(()));
        let other = json!([{ "key": "node.kubernetes.io/disk-pressure", "operator": "Exists" }]);
        assert!(admits(MEMORY, &pod(json!({ "containers": [], "tolerations": other }))).is_err());
    }

    #[test]
    fn short_of_disk_all_but_critical_pods_are_refused() {
        let some = pod(json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1" } } }] }));
        let (_, message) = admits(DISK, &some).unwrap_err();
        assert_eq!(message, "The node had condition: [MemoryPressure DiskPressure]. ");
        assert_eq!(admits(DISK, &pod(json!({ "containers": [], "priority": 2_000_000_000 }))), Ok(()));
        let mut fixed = pod(json!({ "containers": [] }));
        fixed.metadata.annotations = Some([("kubernetes.io/config.source".to_owned(), "file".to_owned())].into());
        assert_eq!(admits(DISK, &fixed), Ok(()));
    }
}
