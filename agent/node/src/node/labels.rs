//! Owns which labels a node may give itself: NodeRestriction refuses the whole Node for one that it may
//! not. Pure.

use std::collections::BTreeMap;

const HOSTNAME: &str = "kubernetes.io/hostname";
const OS: &str = "kubernetes.io/os";
const ARCH: &str = "kubernetes.io/arch";

/// Labels of `kubernetes.io` that a node may set, besides all of [`NAMESPACES`].
const ALLOWED: [&str; 11] = [
    HOSTNAME,
    OS,
    ARCH,
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
const NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Whether a node may set the label on itself.
pub fn allowed(label: &str) -> bool {
    let Some((namespace, _)) = label.split_once('/') else { return true };
    let within =
        |parent: &str| namespace.strip_suffix(parent).is_some_and(|before| before.is_empty() || before.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    let reserved = within("kubernetes.io") || within("k8s.io");
    !reserved || ALLOWED.contains(&label) || NAMESPACES.into_iter().any(within)
}

/// The labels that every node has, and those of the settings that it may set itself.
pub fn of_node(name: &str, wanted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let own = [(HOSTNAME, name), (OS, "linux"), (ARCH, architecture(std::env::consts::ARCH))];
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    own.chain(wanted.iter().filter(|(key, _)| allowed(key)).map(|(k, v)| (k.clone(), v.clone()))).collect()
}

/// Labels of the settings that only an administrator can set.
pub fn refused(wanted: &BTreeMap<String, String>) -> Vec<&str> {
    wanted.keys().map(String::as_str).filter(|key| !allowed(key)).collect()
}

/// The machine's architecture in Go's words, which Kubernetes uses.
pub fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_kubernetes_are_reserved_but_for_some() {
        for label in [
            "rack",
            "example.com/rack",
            "notkubernetes.io/x",
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
            "node.kubernetes.io/anything",
            "sub.kubelet.kubernetes.io/anything",
        ] {
            assert!(allowed(label), "{label}");
        }
        for label in [
            "node-role.kubernetes.io/worker",
            "kubernetes.io/role",
            "k8s.io/x",
            "a.k8s.io/x",
            "node-restriction.kubernetes.io/x",
            "a.node-restriction.kubernetes.io/x",
        ] {
            assert!(!allowed(label), "{label}");
        }
    }

    #[test]
    fn a_node_is_labelled_with_what_it_may_have() {
        let pairs = [("rack", "7"), ("node-role.kubernetes.io/worker", "")];
        let wanted = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let labels = of_node("one", &wanted);
        assert_eq!(labels["kubernetes.io/hostname"], "one");
        assert_eq!(labels["kubernetes.io/os"], "linux");
        assert_eq!(labels["rack"], "7");
        assert_eq!(labels.len(), 4);
        assert_eq!(refused(&wanted), ["node-role.kubernetes.io/worker"]);
        assert_eq!(architecture("x86_64"), "amd64");
    }
}
