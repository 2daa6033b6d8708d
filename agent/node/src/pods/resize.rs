//! Owns changes of limits in place: what differs, whether it fits, whether the container must start again.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

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
