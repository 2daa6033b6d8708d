//! Owns the decision: a node gets a certificate for its own name and addresses, if no other node has them.

use k8s_openapi::api::core::v1::Node;

use super::request::Request;

/// What a server's key is used for.
const USAGES: [&str; 3] = ["digital signature", "key encipherment", "server auth"];
const PREFIX: &str = "system:node:";
const GROUP: &str = "system:nodes";

/// An answer, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It gets the certificate.
    Approve(String),
    /// It is left to a person.
    Leave(String),
}

/// Decides over a request, by the nodes that there are.
pub fn decide(request: &Request, nodes: &[Node]) -> Answer {
    match check(request, nodes) {
        Ok(why) => Answer::Approve(why),
        Err(why) => Answer::Leave(why),
    }
}

fn check(request: &Request, nodes: &[Node]) -> Result<String, String> {
    let subject = request.subject.as_ref().map_err(Clone::clone)?;
    let node = request.user.strip_prefix(PREFIX).ok_or_else(|| format!("{} is no node", request.user))?;
    if !request.groups.iter().any(|group| group == GROUP) {
        return Err(format!("{} is not in the group {GROUP}", request.user));
    }
    if subject.name != request.user || subject.groups != [GROUP] {
        return Err(format!("it is for {}, but {} asks", subject.name, request.user));
    }
    if let Some(usage) = request.usages.iter().find(|usage| !USAGES.contains(&usage.as_str())) {
        return Err(format!("a server's key is not for `{usage}`"));
    }
    if subject.others || subject.names.is_empty() {
        return Err("it must be for DNS names and addresses, and nothing else".to_owned());
    }
    let known = |wanted: &&Node| wanted.metadata.name.as_deref() == Some(node);
    let own = nodes.iter().find(known).ok_or_else(|| format!("there is no node {node} yet"))?;
    let own = addresses(own);
    if let Some(name) = subject.names.iter().find(|name| **name != node && !own.contains(*name)) {
        return Err(format!("{name} is none of the addresses of {node}"));
    }
    let mut others = nodes.iter().filter(|other| !known(other));
    if let Some((name, other)) = others.find_map(|other| {
        let theirs = addresses(other);
        let name = subject.names.iter().find(|name| theirs.contains(*name))?;
        Some((name, other.metadata.name.clone().unwrap_or_default()))
    }) {
        return Err(format!("{name} is an address of {other} too"));
    }
    Ok(format!("{node} has all of {}", subject.names.join(", ")))
}

fn addresses(node: &Node) -> Vec<String> {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    addresses.into_iter().flatten().map(|address| address.address.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::request::Subject;
    use super::*;
    use serde_json::json;

    fn node(name: &str, addresses: &[&str]) -> Node {
        let addresses: Vec<_> =
            addresses.iter().map(|address| json!({ "type": "InternalIP", "address": address })).collect();
        serde_json::from_value(json!({ "metadata": { "name": name }, "status": { "addresses": addresses } })).unwrap()
    }

    fn request(names: &[&str]) -> Request {
        Request {
            user: "system:node:one".into(),
            groups: vec!["system:nodes".into(), "system:authenticated".into()],
            usages: vec!["digital signature".into(), "server auth".into()],
            subject: Ok(Subject {
                name: "system:node:one".into(),
                groups: vec!["system:nodes".into()],
                names: names.iter().map(|&name| name.to_owned()).collect(),
                others: false,
            }),
        }
    }

    fn refused(request: &Request) -> String {
        let nodes = [node("one", &["10.0.0.1", "10.0.0.9"]), node("two", &["10.0.0.2", "10.0.0.9"])];
        match decide(request, &nodes) {
            Answer::Approve(_) => String::new(),
            Answer::Leave(why) => why,
        }
    }

    #[test]
    fn a_node_gets_its_own_and_nothing_else() {
        assert_eq!(refused(&request(&["one", "10.0.0.1"])), "");
        assert!(refused(&request(&["one", "10.0.0.2"])).contains("none of the addresses"));
        assert!(refused(&request(&["10.0.0.9"])).contains("an address of two too"));
        assert!(refused(&request(&[])).contains("must be for"));
        let other = Request { user: "system:node:three".into(), ..request(&["three"]) };
        assert!(refused(&other).contains("but system:node:three asks"));
        assert!(refused(&Request { user: "eve".into(), ..request(&["one"]) }).contains("no node"));
        assert!(refused(&Request { groups: Vec::new(), ..request(&["one"]) }).contains("not in the group"));
        assert!(refused(&Request { usages: vec!["client auth".into()], ..request(&["one"]) }).contains("not for"));
        assert!(refused(&Request { subject: Err("it cannot be read".into()), ..request(&["one"]) }).contains("read"));
        assert!(decide(&request(&["one"]), &[]) != Answer::Approve(String::new()));
    }
}
