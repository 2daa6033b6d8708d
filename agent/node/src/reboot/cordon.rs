//! Owns cordoning a node for a reboot so that it is known whose cordon it is. The mark is set and taken away
//! in one write with the cordon, which holds however this program ends; what a person cordoned has no mark,
//! and is left as it is.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::TRIES;

/// The annotation of a node that was cordoned here.
pub const MARK: &str = "keelson.io/cordoned-for-reboot";

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was changed.
    Changed,
    /// It was so already.
    Same,
    /// A person cordoned it.
    Theirs,
}

/// Has no new pods come, with our mark unless a person has cordoned it.
pub async fn cordon(client: &kube::Client, name: &str) -> Result<Outcome, kube::Error> {
    change(client, name, true).await
}

/// Has new pods come again, where the cordon is ours.
pub async fn uncordon(client: &kube::Client, name: &str) -> Result<Outcome, kube::Error> {
    change(client, name, false).await
}

async fn change(client: &kube::Client, name: &str, wanted: bool) -> Result<Outcome, kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut tries = 0;
    loop {
        // A node that is not there has no cordon.
        let Some(node) = nodes.get_opt(name).await? else { return Ok(Outcome::Same) };
        let patch = match plan(&node, wanted) {
            Ok(patch) => patch,
            Err(outcome) => return Ok(outcome),
        };
        tries += 1;
        match nodes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => return Ok(Outcome::Changed),
            // Somebody wrote in between: it is looked at again.
            Err(kube::Error::Api(status)) if status.code == 409 && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// The write that brings a node to what is wanted, for the very node that was read; or why there is none.
fn plan(node: &Node, wanted: bool) -> Result<Value, Outcome> {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let marked = node.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MARK));
    let (mark, unschedulable) = match (wanted, marked) {
        (true, true) if cordoned => return Err(Outcome::Same),
        (true, false) if cordoned => return Err(Outcome::Theirs),
        (true, _) => (json!("true"), json!(true)),
        (false, true) => (Value::Null, Value::Null),
        (false, false) if cordoned => return Err(Outcome::Theirs),
        (false, false) => return Err(Outcome::Same),
    };
    let version = &node.metadata.resource_version;
    Ok(json!({
        "metadata": { "resourceVersion": version, "annotations": { MARK: mark } },
        "spec": { "unschedulable": unschedulable },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(cordoned: bool, marked: bool) -> Node {
        let annotations = if marked { json!({ MARK: "true" }) } else { json!({}) };
        let metadata = json!({ "resourceVersion": "7", "annotations": annotations });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "unschedulable": cordoned } })).unwrap()
    }

    #[test]
    fn a_cordon_of_ours_comes_and_goes_with_its_mark() {
        let patch = plan(&node(false, false), true).unwrap();
        assert_eq!(patch["metadata"], json!({ "resourceVersion": "7", "annotations": { MARK: "true" } }));
        assert_eq!(patch["spec"]["unschedulable"], true);
        assert_eq!(plan(&node(true, true), true), Err(Outcome::Same));
        let patch = plan(&node(true, true), false).unwrap();
        assert!(patch["metadata"]["annotations"][MARK].is_null() && patch["spec"]["unschedulable"].is_null());
        assert_eq!(plan(&node(false, false), false), Err(Outcome::Same));
    }

    #[test]
    fn a_persons_cordon_stays() {
        assert_eq!(plan(&node(true, false), true), Err(Outcome::Theirs));
        assert_eq!(plan(&node(true, false), false), Err(Outcome::Theirs));
        // Who uncordoned it by hand left the mark, which goes.
        assert!(plan(&node(false, true), false).is_ok());
    }
}
