//! Owns what the API says of nodes: ready or not and why, and whether pods may come.

use serde::Serialize;
use serde_json::Value;

/// A node as the API has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// Whether new pods are kept away.
    pub cordoned: bool,
    /// The boot it speaks of.
    pub boot: Option<String>,
}

/// The nodes in a NodeList.
pub fn parse(list: &Value) -> Vec<Node> {
    list["items"].as_array().into_iter().flatten().filter_map(node).collect()
}

fn node(item: &Value) -> Option<Node> {
    let conditions = item["status"]["conditions"].as_array();
    let condition = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
    let ready = condition.is_some_and(|condition| condition["status"] == "True");
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let reason = condition.and_then(|condition| text(&condition["message"]).or_else(|| text(&condition["reason"])));
    Some(Node {
        name: item["metadata"]["name"].as_str()?.to_owned(),
        ready,
        reason: reason.filter(|_| !ready),
        cordoned: item["spec"]["unschedulable"] == true,
        boot: text(&item["status"]["nodeInfo"]["bootID"]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn readiness_is_the_condition() {
        let node = |status: &str, unschedulable: bool| {
            json!({
                "metadata": { "name": "n1" },
                "spec": { "unschedulable": unschedulable },
                "status": {
                    "nodeInfo": { "bootID": "b" },
                    "conditions": [
                        { "type": "MemoryPressure", "status": "True" },
                        { "type": "Ready", "status": status, "reason": "R", "message": "because" },
                    ],
                },
            })
        };
        let list = json!({ "items": [node("True", false), node("False", true), node("Unknown", false)] });
        let nodes = parse(&list);
        assert_eq!(nodes.iter().map(|node| node.ready).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(nodes.iter().map(|node| node.cordoned).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!((nodes[0].reason.as_deref(), nodes[1].reason.as_deref()), (None, Some("because")));
        assert_eq!(nodes[0].boot.as_deref(), Some("b"));
    }

    #[test]
    fn a_new_node_has_nothing_yet() {
        let nodes = parse(&json!({ "items": [{ "metadata": { "name": "n" } }, {}] }));
        assert_eq!(nodes.len(), 1);
        assert!(!nodes[0].ready && !nodes[0].cordoned && nodes[0].reason.is_none());
        assert!(parse(&Value::Null).is_empty());
    }
}
