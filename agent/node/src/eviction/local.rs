//! Owns ending pods that use more of the node's disk than they may: emptyDir volumes with a size limit,
//! containers and pods with a limit of ephemeral storage.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::context::Context;
use crate::pods::PodView;
use crate::spec::is_critical;
use crate::spec::quantity::Amount;
use crate::spec::requirements::limit;

use super::usage::{ContainerUse, containers, log_folder, volumes};
use super::{end, is_active, message};
use crate::disk::measured;

/// A pod whose files took so long to count is left in peace so many times as long.
const REST: u32 = 50;
const STORAGE: &str = "ephemeral-storage";

/// What of the disk a pod may use.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bounds {
    /// Name of a volume, and its limit as written.
    volumes: Vec<(String, String)>,
    /// Name of a container, and its limit as written.
    containers: Vec<(String, String)>,
    /// Of the pod as a whole, bytes.
    whole: Option<i64>,
}

/// What a pod uses of the disk, bytes.
#[derive(Debug, Default)]
struct Uses {
    volumes: HashMap<String, u64>,
    containers: HashMap<String, u64>,
}

/// When which pod is looked at next.
#[derive(Debug, Default)]
pub struct Watch {
    next: HashMap<String, Instant>,
}

impl Watch {
    /// Ends the pods that use more than they may. Gives their UIDs.
    pub async fn evict(&mut self, context: &Context) -> Vec<String> {
        let pods: Vec<_> = context.pods.list().into_iter().filter(|pod| is_active(pod)).collect();
        self.next.retain(|uid, _| pods.iter().any(|pod| pod.uid() == uid));
        let due = pods.iter().filter(|pod| !is_critical(&pod.pod) && self.is_due(pod));
        let due: Vec<_> = due.map(|pod| (pod, bounds(&pod.pod))).filter(|(_, b)| *b != Bounds::default()).collect();
        let mut written = match due.iter().filter(|(_, bounds)| bounds.whole.is_some()).collect::<Vec<_>>()[..] {
            [] => HashMap::new(),
            [(pod, _)] => containers(context, Some(pod.uid())).await,
            _ => containers(context, None).await,
        };
        let mut evicted = Vec::new();
        for (pod, bounds) in due {
            let start = Instant::now();
            let uses = measure(context, pod, &bounds, written.remove(pod.uid()).unwrap_or_default()).await;
            let rest = start.elapsed().min(Duration::from_secs(60)) * REST;
            self.next.insert(pod.uid().to_owned(), Instant::now() + rest);
            if let Some(message) = exceeded(&bounds, &uses) {
                end(context, pod, &message);
                evicted.push(pod.uid().to_owned());
            }
        }
        evicted
    }

    fn is_due(&self, pod: &PodView) -> bool {
        self.next.get(pod.uid()).is_none_or(|next| Instant::now() >= *next)
    }
}

fn bounds(pod: &Pod) -> Bounds {
    let Some(spec) = &pod.spec else { return Bounds::default() };
    let sized = |limit: &str| Amount::parse(limit).is_some_and(|limit| !limit.is_zero());
    // What is in memory cannot grow beyond its file system.
    let volumes = spec.volumes.iter().flatten().filter_map(|volume| {
        let folder = volume.empty_dir.as_ref().filter(|folder| folder.medium.as_deref() != Some("Memory"))?;
        Some((volume.name.clone(), folder.size_limit.clone()?.0))
    });
    let containers = spec.containers.iter().filter_map(|container| {
        let limit = container.resources.as_ref()?.limits.as_ref()?.get(STORAGE)?;
        Some((container.name.clone(), limit.0.clone()))
    });
    Bounds {
        volumes: volumes.filter(|(_, limit)| sized(limit)).collect(),
        containers: containers.filter(|(_, limit)| sized(limit)).collect(),
        whole: limit(pod, STORAGE).map(Amount::value).filter(|whole| *whole > 0),
    }
}

async fn measure(context: &Context, pod: &PodView, bounds: &Bounds, written: Vec<ContainerUse>) -> Uses {
    let mut uses = Uses::default();
    let folder = volumes(context, pod.uid());
    let empty = pod.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for volume in empty.filter(|volume| volume.empty_dir.is_some()) {
        if bounds.whole.is_some() || bounds.volumes.iter().any(|(name, _)| *name == volume.name) {
            let used = measured(folder.join(&volume.name)).await;
            uses.volumes.insert(volume.name.clone(), used.bytes);
        }
    }
    if bounds.whole.is_some() {
        for container in written {
            let logs = match log_folder(pod, &container.name) {
                Some(folder) => measured(folder).await.bytes,
                None => 0,
            };
            uses.containers.insert(container.name, container.written.bytes + logs);
        }
    }
    uses
}

/// Why a pod must go, if it must.
fn exceeded(bounds: &Bounds, uses: &Uses) -> Option<String> {
    let beyond = |used: Option<&u64>, limit: &str| {
        let limit = Amount::parse(limit).map(Amount::value);
        used.zip(limit).is_some_and(|(used, limit)| i64::try_from(*used).unwrap_or(i64::MAX) > limit)
    };
    for (name, limit) in &bounds.volumes {
        if beyond(uses.volumes.get(name), limit) {
            return Some(message::volume(name, limit));
        }
    }
    if let Some(whole) = bounds.whole {
        let used: u64 = uses.volumes.values().chain(uses.containers.values()).sum();
        if i64::try_from(used).unwrap_or(i64::MAX) > whole {
            return Some(message::whole(&crate::node::capacity::bytes(whole).0));
        }
    }
    let container = bounds.containers.iter().find(|(name, limit)| beyond(uses.containers.get(name), limit));
    container.map(|(name, limit)| message::container(name, limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        let limits = json!({ "limits": { STORAGE: "1Ki" } });
        serde_json::from_value(json!({ "spec": {
            "volumes": [
                { "name": "small", "emptyDir": { "sizeLimit": "2Ki" } },
                { "name": "tmpfs", "emptyDir": { "sizeLimit": "2Ki", "medium": "Memory" } },
                { "name": "free", "emptyDir": {} },
            ],
            "containers": [{ "name": "a", "resources": limits }, { "name": "b", "resources": { "limits": { STORAGE: "9Ki" } } }],
        } }))
        .unwrap()
    }

    fn uses(volumes: &[(&str, u64)], containers: &[(&str, u64)]) -> Uses {
        let map = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, used)| (name.to_string(), *used)).collect();
        Uses { volumes: map(volumes), containers: map(containers) }
    }

    #[test]
    fn limits_are_found() {
        let bounds = bounds(&pod());
        assert_eq!(bounds.volumes, [("small".to_owned(), "2Ki".to_owned())]);
        assert_eq!(bounds.containers.len(), 2);
        assert_eq!(bounds.whole, Some(10 << 10));
        assert_eq!(super::bounds(&Pod::default()), Bounds::default());
    }

    #[test]
    fn who_exceeds_is_told_which_limit() {
        let bounds = bounds(&pod());
        assert_eq!(exceeded(&bounds, &uses(&[("small", 2048)], &[("a", 1024)])), None);
        let volume = exceeded(&bounds, &uses(&[("small", 2049)], &[])).unwrap();
        assert!(volume.contains("\"small\""), "{volume}");
        let container = exceeded(&bounds, &uses(&[], &[("a", 1025)])).unwrap();
        assert!(container.starts_with("Container a exceeded"), "{container}");
        let whole = exceeded(&bounds, &uses(&[("free", 10 << 10)], &[("b", 1)])).unwrap();
        assert!(whole.contains("total limit of containers 10Ki"), "{whole}");
    }
}
