//! Owns the decision: a node gets a certificate for its own name and addresses, if no other node has them.

use k8s_openapi::api::core::v1::Node;

use std::net::IpAddr;

use ipnet::IpNet;

use super::request::Request;
use crate::settings::Settings;

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

/// What no node may be called, whatever it says of itself: it would be taken for the API server.
#[derive(Debug, Clone)]
pub struct Reserved {
    /// What the API server is called inside.
    pub inner: Vec<String>,
    /// What the master's host is called, which its own node may be.
    pub outer: Vec<String>,
    /// Addresses of Services.
    pub services: IpNet,
    /// The master's own node.
    pub own: Option<String>,
}

impl Reserved {
    /// Of a master whose own node has that name.
    pub fn of(settings: &Settings, own: Option<String>) -> Self {
        Self { inner: settings.inner_names(), outer: settings.outer_names(), services: settings.services, own }
    }

    fn has(&self, name: &str, node: &str) -> bool {
        let same = |other: &String| same(other, name);
        let is_own = self.own.as_deref() == Some(node);
        // A pattern may stand for any name.
        name.contains('*')
            || self.inner.iter().any(same)
            || (!is_own && self.outer.iter().any(same))
            || name.parse().is_ok_and(|address: IpAddr| self.services.contains(&address.to_canonical()))
    }
}

/// Decides over a request, by the nodes that there are.
pub fn decide(request: &Request, nodes: &[Node], reserved: &Reserved) -> Answer {
    match check(request, nodes, reserved) {
        Ok(why) => Answer::Approve(why),
        Err(why) => Answer::Leave(why),
    }
}

fn check(request: &Request, nodes: &[Node], reserved: &Reserved) -> Result<String, String> {
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
    if let Some(name) = subject.names.iter().find(|name| reserved.has(name, node)) {
        return Err(format!("{name} is the API server's or a Service's, and no node's"));
    }
    let known = |wanted: &&Node| wanted.metadata.name.as_deref() == Some(node);
    let own = nodes.iter().find(known).ok_or_else(|| format!("there is no node {node} yet"))?;
    if let Some(name) = subject.names.iter().find(|name| !is_called(own, name)) {
        return Err(format!("{name} is none of the addresses of {node}"));
    }
    let mut others = nodes.iter().filter(|other| !known(other));
    if let Some((name, other)) = others.find_map(|other| {
        let name = subject.names.iter().find(|name| is_called(other, name))?;
        Some((name, other.metadata.name.clone().unwrap_or_default()))
    }) {
        return Err(format!("{name} is a name or an address of {other} too"));
    }
    Ok(format!("{node} has all of {}", subject.names.join(", ")))
}

/// Whether a node is called that, or says that it is.
fn is_called(node: &Node, name: &str) -> bool {
    let addresses = node.status.as_ref().and_then(|status| status.addresses.as_ref());
    let addresses = addresses.into_iter().flatten().map(|address| address.address.as_str());
    node.metadata.name.as_deref().into_iter().chain(addresses).any(|own| same(own, name))
}

/// Whether two names, or two addresses, are one to whoever checks a certificate. A node writes its own as it likes, and
/// an IPv4 address within an IPv6 one is signed as the IPv4 address.
fn same(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one.to_canonical() == other.to_canonical(),
        _ => one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.')),
    }
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

    fn reserved() -> Reserved {
        Reserved {
            inner: vec!["kubernetes.default.svc".into(), "127.0.0.1".into()],
            outer: vec!["10.0.0.7".into(), "m.example".into()],
            services: "10.96.0.0/12".parse().unwrap(),
            own: Some("master".into()),
        }
    }

    fn refused(request: &Request) -> String {
        let nodes = [node("one", &["10.0.0.1", "10.0.0.9"]), node("two", &["10.0.0.2", "10.0.0.9"])];
        match decide(request, &nodes, &reserved()) {
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
        assert!(decide(&request(&["one"]), &[], &reserved()) != Answer::Approve(String::new()));
    }

    #[test]
    fn what_a_node_says_of_itself_does_not_make_it_the_api_server() {
        let names = ["10.96.0.1", "10.0.0.7", "kubernetes.default.svc", "M.example.", "127.0.0.1", "*.example"];
        let nodes = [node("one", &names), node("kubernetes.default.svc", &[])];
        for name in names {
            let Answer::Leave(why) = decide(&request(&[name]), &nodes, &reserved()) else { panic!("{name}") };
            assert!(why.contains("no node's"), "{why}");
        }
        let mut named = Request { user: "system:node:kubernetes.default.svc".into(), ..request(&[]) };
        let (name, names) = (named.user.clone(), vec!["kubernetes.default.svc".to_owned()]);
        named.subject = named.subject.map(|subject| Subject { name, names, ..subject });
        assert!(matches!(decide(&named, &nodes, &reserved()), Answer::Leave(why) if why.contains("no node's")));
    }

    #[test]
    fn another_way_of_writing_a_name_or_an_address_is_the_same_one() {
        let ways = ["::ffff:10.0.0.2", "TWO", "two.", "::ffff:10.0.0.7", "::ffff:10.96.0.1", "::ffff:127.0.0.1"];
        let nodes = [node("one", &ways), node("two", &["10.0.0.2"])];
        for name in ways {
            let answer = decide(&request(&[name]), &nodes, &reserved());
            assert!(matches!(answer, Answer::Leave(_)), "{name}: {answer:?}");
        }
    }

    #[test]
    fn the_masters_own_node_has_the_masters_address() {
        let (mut own, names) = (request(&["master", "10.0.0.7"]), ["10.0.0.7"]);
        own.user = "system:node:master".into();
        own.subject = own.subject.map(|subject| Subject { name: "system:node:master".into(), ..subject });
        assert!(matches!(decide(&own, &[node("master", &names)], &reserved()), Answer::Approve(_)));
        let nobody = Reserved { own: None, ..reserved() };
        assert!(matches!(decide(&own, &[node("master", &names)], &nobody), Answer::Leave(_)));
    }
}
