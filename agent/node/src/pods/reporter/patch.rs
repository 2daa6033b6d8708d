//! Owns what is sent to make one status of a pod another, as far as it is this node's to say. Pure.

use serde_json::{Map, Value, json};

use super::super::conditions::{is_given, is_ours};

/// What of a status is this node's; the rest is neither compared nor sent.
const FIELDS: [&str; 14] = [
    "phase",
    "conditions",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "qosClass",
    "observedGeneration",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
];

/// The strategic merge patch from one status to another; nothing when they say the same.
pub fn difference(written: &Value, wanted: &Value) -> Option<Value> {
    let mut patch = Map::new();
    for key in FIELDS {
        let (old, new) = (&written[key], &wanted[key]);
        let value = match key {
            "conditions" => conditions(list(old), list(new)),
            _ if alike(old, new) => None,
            // Merged by address, the pod would have those of before as well.
            "podIPs" | "hostIPs" if !old.is_null() && !new.is_null() => {
                let replace = std::iter::once(json!({ "$patch": "replace" }));
                Some(Value::Array(replace.chain(list(new).iter().cloned()).collect()))
            }
            _ => Some(new.clone()),
        };
        patch.extend(value.map(|value| (key.to_owned(), value)));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The API merges conditions by type: those that differ are sent, those that are no more are deleted.
/// Others' are theirs to change.
fn conditions(old: &[Value], new: &[Value]) -> Option<Value> {
    let kind = |condition: &Value| condition["type"].as_str().unwrap_or_default().to_owned();
    let sent = new.iter().filter(|condition| is_ours(&kind(condition)) || is_given(&kind(condition)));
    let sent = sent.filter(|condition| !old.iter().any(|other| alike(condition, other)));
    let gone = old.iter().map(kind).filter(|kind| is_ours(kind));
    let gone = gone.filter(|kind| !new.iter().any(|other| other["type"] == **kind));
    let mut patch: Vec<Value> = sent.cloned().collect();
    patch.extend(gone.map(|kind| json!({ "type": kind, "$patch": "delete" })));
    (!patch.is_empty()).then_some(Value::Array(patch))
}

/// Whether two values are the same to the API, which leaves out what is empty.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(left), Value::Object(right)) => {
            left.keys().chain(right.keys()).all(|key| alike(&one[key], &other[key]))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| alike(left, right))
        }
        _ => one == other || (is_empty(one) && is_empty(other)),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_sent() {
        let old = json!({ "phase": "Pending", "message": "m", "podIP": "10.0.0.1", "conditions": [
            { "type": "Ready", "status": "False" }, { "type": "PodScheduled", "status": "True" },
            { "type": "PodResizePending" } ] });
        let new = json!({ "phase": "Running", "podIP": "10.0.0.1", "conditions": [
            { "type": "Ready", "status": "True" }, { "type": "PodScheduled", "status": "True" } ] });
        assert_eq!(difference(&old, &old), None);
        let patch = json!({ "phase": "Running", "message": null, "conditions": [
            { "type": "Ready", "status": "True" }, { "type": "PodResizePending", "$patch": "delete" } ] });
        assert_eq!(difference(&old, &new), Some(patch));
        assert_eq!(difference(&Value::Null, &new), Some(new));
    }

    #[test]
    fn what_others_say_is_left_to_them() {
        let gate = |status: &str| json!({ "conditions": [{ "type": "example.com/gate", "status": status }] });
        assert_eq!(difference(&gate("True"), &gate("False")), None);
        assert_eq!(difference(&gate("True"), &json!({})), None);
        assert_eq!(difference(&json!({ "nominatedNodeName": "n" }), &json!({})), None);
        // A disruption is given by whoever causes it, and stays.
        let disrupted = json!({ "conditions": [{ "type": "DisruptionTarget", "status": "True" }] });
        assert_eq!(difference(&json!({}), &disrupted), Some(disrupted.clone()));
        assert_eq!(difference(&disrupted, &json!({})), None);
    }

    #[test]
    fn what_the_api_leaves_out_makes_no_difference() {
        let of = |user: Value| json!({ "containerStatuses": [{ "name": "a", "user": user, "ready": false }] });
        assert_eq!(difference(&of(json!({ "uid": 1 })), &of(json!({ "uid": 1, "supplementalGroups": [] }))), None);
        assert!(difference(&of(json!({ "uid": 1 })), &of(json!({ "uid": 2 }))).is_some());
        assert!(
            difference(&of(Value::Null), &json!({ "containerStatuses": [{ "name": "a", "ready": true }] })).is_some()
        );
    }

    #[test]
    fn addresses_take_the_place_of_those_before() {
        let of = |ip: &str| json!({ "podIP": ip, "podIPs": [{ "ip": ip }] });
        let patch = json!({ "podIP": "10.0.0.2", "podIPs": [{ "$patch": "replace" }, { "ip": "10.0.0.2" }] });
        assert_eq!(difference(&of("10.0.0.1"), &of("10.0.0.2")), Some(patch));
    }
}
