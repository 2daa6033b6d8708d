//! Owns what a static pod must be: named so that its names can be paths, and in need of nothing that
//! only the API has. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume, VolumeProjection};

use super::manifest::ManifestError;

/// Whether the pod, as its file describes it, can be a static one.
pub(super) fn check(pod: &Pod) -> Result<(), ManifestError> {
    let invalid = |what: String| Err(ManifestError::Invalid(what));
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if !is_subdomain(name) {
        return invalid(format!("metadata.name {name:?}"));
    }
    match pod.metadata.namespace.as_deref() {
        Some(namespace) if !namespace.is_empty() && !is_label(namespace) => {
            return invalid(format!("metadata.namespace {namespace:?}"));
        }
        _ => {}
    }
    let Some(spec) = pod.spec.as_ref().filter(|spec| !spec.containers.is_empty()) else {
        return invalid("no containers".to_owned());
    };
    let mut names = BTreeSet::new();
    for container in containers(spec) {
        if !is_label(&container.name) || !names.insert(&container.name) {
            return invalid(format!("name of a container {:?}", container.name));
        }
        if container.image.as_deref().unwrap_or_default().is_empty() {
            return invalid(format!("no image of container {}", container.name));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        if !is_label(&volume.name) {
            return invalid(format!("name of a volume {:?}", volume.name));
        }
    }
    references(spec).map_or(Ok(()), |what| Err(ManifestError::References(what)))
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// What a pod needs of the API, if anything; the API refuses its mirror then.
fn references(spec: &PodSpec) -> Option<&'static str> {
    let account = [&spec.service_account_name, &spec.service_account];
    if account.into_iter().any(|name| name.as_deref().is_some_and(|name| !name.is_empty())) {
        return Some("serviceaccounts");
    }
    if spec.image_pull_secrets.as_ref().is_some_and(|secrets| !secrets.is_empty()) {
        return Some("secrets");
    }
    if spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        return Some("resourceclaims");
    }
    if spec.ephemeral_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        return Some("ephemeral containers");
    }
    let of_volumes = spec.volumes.iter().flatten().find_map(of_volume);
    of_volumes.or_else(|| containers(spec).find_map(of_environment))
}

fn of_environment(container: &Container) -> Option<&'static str> {
    let sources = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
    let by_key = sources.map(|source| (source.secret_key_ref.is_some(), source.config_map_key_ref.is_some()));
    let whole = container.env_from.iter().flatten();
    let whole = whole.map(|source| (source.secret_ref.is_some(), source.config_map_ref.is_some()));
    by_key.chain(whole).find_map(|(secret, config_map)| match (secret, config_map) {
        (true, _) => Some("secrets"),
        (false, true) => Some("configmaps"),
        (false, false) => None,
    })
}

fn of_volume(volume: &Volume) -> Option<&'static str> {
    let kinds = [
        (volume.config_map.is_some(), "configmaps"),
        (volume.secret.is_some() || volume.azure_file.is_some(), "secrets"),
        (volume.csi.is_some(), "csidrivers"),
        (volume.glusterfs.is_some(), "endpoints"),
        (volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some(), "persistentvolumeclaims"),
    ];
    let whole = kinds.into_iter().find(|(is_there, _)| *is_there).map(|(_, what)| what);
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    whole.or_else(|| projected.into_iter().find_map(of_projection))
}

fn of_projection(source: &VolumeProjection) -> Option<&'static str> {
    let kinds = [
        (source.config_map.is_some(), "configmaps"),
        (source.secret.is_some(), "secrets"),
        (source.service_account_token.is_some(), "serviceaccounts"),
        (source.cluster_trust_bundle.is_some(), "clustertrustbundles"),
        (source.pod_certificate.is_some(), "podcertificates"),
    ];
    kinds.into_iter().find(|(is_there, _)| *is_there).map(|(_, what)| what)
}

fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= 63 && name.bytes().all(inner) && !name.starts_with('-') && !name.ends_with('-')
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(metadata: &str, spec: &str) -> Result<(), String> {
        let text = format!(r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {metadata}, "spec": {spec}}}"#);
        check(&serde_json::from_str(&text).unwrap()).map_err(|error| error.to_string())
    }

    fn spec(more: &str) -> Result<(), String> {
        checked(r#"{"name": "a.b"}"#, &format!(r#"{{"containers": [{{"name": "a", "image": "b"}}], {more}}}"#))
    }

    #[test]
    fn names_can_be_paths() {
        assert_eq!(spec(r#""hostNetwork": true"#), Ok(()));
        let container = r#"{"containers": [{"name": "a", "image": "b"}]}"#;
        assert!(checked(r#"{"name": "../a"}"#, container).is_err());
        assert!(checked("{}", container).is_err());
        assert!(checked(r#"{"name": "a", "namespace": ".."}"#, container).is_err());
        assert!(checked(r#"{"name": "a"}"#, r#"{"containers": []}"#).is_err());
        assert!(checked(r#"{"name": "a"}"#, r#"{"containers": [{"name": "A", "image": "b"}]}"#).is_err());
        assert!(checked(r#"{"name": "a"}"#, r#"{"containers": [{"name": "a"}]}"#).is_err());
        assert!(spec(r#""initContainers": [{"name": "a", "image": "c"}]"#).is_err());
        assert!(spec(r#""volumes": [{"name": "a/b", "emptyDir": {}}]"#).is_err());
    }

    #[test]
    fn needs_nothing_of_the_api() {
        let needs = |more: &str| spec(more).unwrap_err().replace("static pods may not reference ", "");
        assert_eq!(needs(r#""serviceAccountName": "me""#), "serviceaccounts");
        assert_eq!(needs(r#""imagePullSecrets": [{"name": "s"}]"#), "secrets");
        assert_eq!(needs(r#""volumes": [{"name": "a", "configMap": {"name": "m"}}]"#), "configmaps");
        let token = r#""volumes": [{"name": "a", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]"#;
        assert_eq!(needs(token), "serviceaccounts");
        let init = |source: &str| format!(r#""initContainers": [{{"name": "i", "image": "c", {source}}}]"#);
        assert_eq!(needs(&init(r#""envFrom": [{"configMapRef": {"name": "m"}}]"#)), "configmaps");
        let key = r#""env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]"#;
        assert_eq!(needs(&init(key)), "secrets");
        assert_eq!(spec(r#""volumes": [{"name": "a", "hostPath": {"path": "/"}}]"#), Ok(()));
    }
}
