//! Owns changes of limits in place: what differs, whether it fits, whether the container must start again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::observe::Observed;
use super::worker::Worker;
use crate::spec;

/// The resources that can be changed in place.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// What is done about a running container whose limits differ from what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing differs.
    None,
    /// Its limits are changed while it runs.
    InPlace,
    /// It is started again with other limits.
    Restart,
}

/// What is done to get a container from the limits it has to those it shall have.
pub fn change(container: &Container, applied: &ResourceRequirements) -> Change {
    let wanted = container.resources.clone().unwrap_or_default();
    let differs: Vec<&str> = RESIZABLE.into_iter().filter(|resource| differs(&wanted, applied, resource)).collect();
    if differs.is_empty() {
        return Change::None;
    }
    let restart =
        container.resize_policy.iter().flatten().any(|policy| {
            policy.restart_policy == "RestartContainer" && differs.contains(&policy.resource_name.as_str())
        });
    if restart { Change::Restart } else { Change::InPlace }
}

fn differs(wanted: &ResourceRequirements, applied: &ResourceRequirements, resource: &str) -> bool {
    let value = |list: &Option<BTreeMap<String, Quantity>>| {
        list.as_ref().and_then(|list| list.get(resource)).map(|quantity| quantity.0.clone())
    };
    value(&wanted.limits) != value(&applied.limits) || value(&wanted.requests) != value(&applied.requests)
}

impl Worker {
    /// Changes limits of running containers to what is wanted.
    pub(super) async fn resize(&mut self, observed: &Observed) {
        self.memory.resize.clear();
        let mut pending = Vec::new();
        for member in self.shape.app.iter().chain(&self.shape.init) {
            let Some(seen) = observed.current(&member.spec.name).filter(|seen| seen.running()) else { continue };
            let Some(applied) = self.memory.applied.get(&seen.id) else { continue };
            match change(&member.spec, applied) {
                Change::None => {}
                change => pending.push((seen.id.clone(), member.clone(), change)),
            }
        }
        if pending.is_empty() {
            return;
        }
        let others = self.others();
        let node = self.parts.context.node.borrow().clone();
        let others = others.iter().map(|view| &*view.pod);
        if let Err((reason, message)) = spec::resizes(&self.pod, others, node.as_deref()) {
            self.memory.resize.push(("PodResizePending", reason, message));
            return;
        }
        // The pod's own limit is raised before, and lowered after, those of its containers.
        let context = self.parts.context.clone();
        if let Err(error) = context.cgroups.apply(&self.pod).await {
            tracing::debug!(uid = self.uid, "the pod's cgroup, before its containers': {error}");
        }
        for (id, member, change) in pending {
            if change == Change::Restart {
                let message = format!("Container {} resize requires restart", member.spec.name);
                self.background().replace.entry(id).or_insert(message);
                continue;
            }
            let linux = Some(spec::resources(&context, &self.pod, &member.spec));
            let request = crate::cri::v1::UpdateContainerResourcesRequest {
                container_id: id.clone(),
                linux,
                ..Default::default()
            };
            match context.cri.update_container_resources(request).await {
                Ok(_) => {
                    let resources: ResourceRequirements = member.spec.resources.clone().unwrap_or_default();
                    self.memory.applied.insert(id, resources);
                }
                Err(error) => {
                    let message = format!("container {}: {error}", member.spec.name);
                    self.memory.resize.push(("PodResizeInProgress", "Error", message));
                }
            }
        }
        if let Err(error) = context.cgroups.apply(&self.pod).await {
            tracing::warn!(uid = self.uid, "{:#}", anyhow::Error::from(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ContainerResizePolicy;

    use super::*;

    fn limits(cpu: &str, memory: &str) -> ResourceRequirements {
        let list =
            [("cpu", cpu), ("memory", memory)].map(|(name, value)| (name.to_owned(), Quantity(value.to_owned())));
        ResourceRequirements { limits: Some(list.into()), ..ResourceRequirements::default() }
    }

    #[test]
    fn a_restart_is_only_for_what_asks_for_it() {
        let policy =
            ContainerResizePolicy { resource_name: "memory".into(), restart_policy: "RestartContainer".into() };
        let container = |resources| Container {
            resources: Some(resources),
            resize_policy: Some(vec![policy.clone()]),
            ..Container::default()
        };
        let applied = limits("1", "1Gi");
        assert_eq!(change(&container(limits("1", "1Gi")), &applied), Change::None);
        assert_eq!(change(&container(limits("2", "1Gi")), &applied), Change::InPlace);
        assert_eq!(change(&container(limits("1", "2Gi")), &applied), Change::Restart);
        assert_eq!(change(&Container::default(), &applied), Change::InPlace);
    }
}
