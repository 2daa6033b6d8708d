//! Owns whether a node is one of those that a pod says it runs on. Pure.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod};

/// Whether the node has all labels of the selector and, where the pod requires affinity, matches one of
/// its terms.
pub(super) fn matches(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| label(node, key) == Some(value.as_str()));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| is_met(term, node)))
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// An empty term is met by no node.
fn is_met(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = |key: &str| node.metadata.name.as_deref().filter(|_| key == "metadata.name");
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|expression| holds(expression, label(node, &expression.key)))
        && fields.iter().all(|expression| holds(expression, name(&expression.key)))
}

fn holds(expression: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = expression.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|other| other == value));
    let numbers = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match expression.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(own, bound)| own > bound),
        "Lt" => numbers().is_some_and(|(own, bound)| own < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn matches_with(spec: Value) -> bool {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let meta = json!({"name": "n1", "labels": {"zone": "a", "size": "4"}});
        matches(&pod, &serde_json::from_value(json!({"metadata": meta})).unwrap())
    }

    fn required(terms: Value) -> bool {
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        matches_with(json!({"affinity": {"nodeAffinity": required}}))
    }

    fn expression(key: &str, operator: &str, values: Value) -> bool {
        required(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
    }

    #[test]
    fn selectors_need_every_label() {
        assert!(matches_with(json!({})));
        assert!(matches_with(json!({"nodeSelector": {"zone": "a"}})));
        assert!(!matches_with(json!({"nodeSelector": {"zone": "a", "size": "5"}})));
    }

    #[test]
    fn every_operator_is_known() {
        assert!(expression("zone", "In", json!(["b", "a"])));
        assert!(!expression("zone", "NotIn", json!(["a"])));
        assert!(expression("none", "NotIn", json!(["a"])));
        assert!(expression("zone", "Exists", json!([])));
        assert!(expression("none", "DoesNotExist", json!([])));
        assert!(expression("size", "Gt", json!(["3"])));
        assert!(!expression("size", "Lt", json!(["4"])));
        assert!(!expression("zone", "Gt", json!(["3"])));
        assert!(!expression("zone", "Odd", json!([])));
    }

    #[test]
    fn one_term_is_enough_and_an_empty_one_is_none() {
        let name = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]});
        assert!(required(json!([{}, name])));
        assert!(!required(json!([{}])));
        assert!(!required(json!([])));
    }
}
