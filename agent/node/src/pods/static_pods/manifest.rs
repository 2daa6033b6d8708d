//! Owns what a file says: YAML or JSON of one pod, completed to what a pod of the API would be. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, PodStatus, Toleration};
use sha2::{Digest, Sha256};

use super::{CONFIG_HASH, CONFIG_SEEN, CONFIG_SOURCE, checks, defaults};

/// Why a file is no static pod.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is neither YAML nor JSON.
    #[error("neither YAML nor JSON")]
    Syntax(#[source] Box<serde_saphyr::Error>),
    /// It describes nothing, or more than one thing.
    #[error("{0} documents instead of one")]
    Documents(usize),
    /// What it describes is no v1 Pod.
    #[error("not a pod of version v1")]
    Shape(#[source] serde_json::Error),
    /// The pod cannot be.
    #[error("invalid pod: {0}")]
    Invalid(String),
    /// The pod needs what a static pod cannot have.
    #[error("static pods may not reference {0}")]
    References(&'static str),
}

/// The static pod that the file at `path` describes with `text`, on the node `node`.
pub(super) fn parse(text: &str, path: &Path, node: &str) -> Result<Pod, ManifestError> {
    let options = serde_saphyr::options! {
        // As in YAML 1.1, which Kubernetes speaks: modes of files are written so.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let documents = serde_saphyr::from_multiple_with_options::<serde_json::Value>(text, options);
    let mut documents = documents.map_err(|error| ManifestError::Syntax(Box::new(error)))?;
    let count = documents.len();
    let document = documents.pop().filter(|_| count == 1).ok_or(ManifestError::Documents(count))?;
    let mut pod: Pod = serde_json::from_value(document).map_err(ManifestError::Shape)?;
    checks::check(&pod)?;
    pod.status = None;
    let uid = uid(&pod, path, node).map_err(ManifestError::Shape)?;
    complete(&mut pod, uid, node);
    Ok(pod)
}

/// 32 hexadecimal digits that say all of the pod.
fn uid(pod: &Pod, path: &Path, node: &str) -> Result<String, serde_json::Error> {
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_vec(pod)?);
    hasher.update(format!("host:{node}file:{}", path.display()));
    Ok(hex::encode(&hasher.finalize()[..16]))
}

fn complete(pod: &mut Pod, uid: String, node: &str) {
    let metadata = &mut pod.metadata;
    metadata.name = metadata.name.take().map(|name| format!("{name}-{}", node.to_lowercase()));
    metadata.namespace = metadata.namespace.take().filter(|name| !name.is_empty()).or(Some("default".into()));
    let annotations = metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(CONFIG_HASH.into(), uid.clone());
    annotations.insert(CONFIG_SOURCE.into(), "file".into());
    annotations.insert(CONFIG_SEEN.into(), jiff::Timestamp::now().to_string());
    metadata.uid = Some(uid);
    pod.status = Some(PodStatus { phase: Some("Pending".into()), ..Default::default() });
    if let Some(spec) = &mut pod.spec {
        spec.node_name = Some(node.to_owned());
        spec.automount_service_account_token = Some(false);
        let everything =
            Toleration { operator: Some("Exists".into()), effect: Some("NoExecute".into()), ..Default::default() };
        let tolerations = spec.tolerations.get_or_insert_with(Vec::new);
        if !tolerations.contains(&everything) {
            tolerations.push(everything);
        }
        defaults::complete(spec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
# A proxy
apiVersion: v1
kind: Pod
metadata:
  name: proxy
  labels: {app: proxy}
  creationTimestamp: null
spec:
  hostNetwork: true
  containers:
  - name: proxy
    image: registry:5000/proxy
    ports: [{containerPort: 80}]
    resources: {limits: {cpu: 1, memory: 64Mi}}
  volumes:
  - name: info
    downwardAPI:
      defaultMode: 0644
      items: [{path: name, fieldRef: {fieldPath: metadata.name}}]
status: {}
---
";

    fn pod(text: &str) -> Result<Pod, ManifestError> {
        parse(text, Path::new("/etc/keelson/pods/proxy.yaml"), "Node-1")
    }

    #[test]
    fn completes_what_a_file_says() {
        let pod = pod(FILE).unwrap();
        let metadata = pod.metadata;
        assert_eq!((metadata.name.unwrap(), metadata.namespace.unwrap()), ("proxy-node-1".into(), "default".into()));
        let uid = metadata.uid.unwrap();
        assert!(uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()), "{uid}");
        let annotations = metadata.annotations.unwrap();
        assert_eq!((annotations[CONFIG_HASH].as_str(), annotations[CONFIG_SOURCE].as_str()), (uid.as_str(), "file"));
        assert!(annotations[CONFIG_SEEN].parse::<jiff::Timestamp>().is_ok());
        let spec = pod.spec.unwrap();
        assert_eq!(spec.node_name.as_deref(), Some("Node-1"));
        let toleration = &spec.tolerations.unwrap()[0];
        assert_eq!((toleration.operator.as_deref(), toleration.effect.as_deref()), (Some("Exists"), Some("NoExecute")));
        let limits = spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str()), ("1", "64Mi"));
        let volume = &spec.volumes.unwrap()[0];
        assert_eq!(volume.downward_api.as_ref().unwrap().default_mode, Some(0o644));
    }

    #[test]
    fn the_uid_is_of_what_is_said_and_where() {
        let uid = |text: &str, file: &str, node| parse(text, Path::new(file), node).unwrap().metadata.uid.unwrap();
        let first = uid(FILE, "/a", "n");
        assert_eq!(uid(&FILE.replace("# A proxy", ""), "/a", "n"), first);
        assert_ne!(uid(&FILE.replace("64Mi", "65Mi"), "/a", "n"), first);
        assert_ne!(uid(FILE, "/b", "n"), first);
        assert_ne!(uid(FILE, "/a", "m"), first);
    }

    #[test]
    fn takes_json() {
        let json = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "kube-system"},
            "spec": {"containers": [{"name": "a", "image": "b"}]}}"#;
        assert_eq!(pod(json).unwrap().metadata.namespace.as_deref(), Some("kube-system"));
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| pod(text).unwrap_err().to_string();
        assert_eq!(error("{a: "), "neither YAML nor JSON");
        assert_eq!(error(""), "0 documents instead of one");
        assert_eq!(error(&format!("{FILE}{FILE}")), "2 documents instead of one");
        assert_eq!(error("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}"), "not a pod of version v1");
        assert_eq!(error("just words"), "not a pod of version v1");
    }
}
