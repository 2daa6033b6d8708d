//! Owns reading the config maps and secrets that a container's variables refer to.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};

use crate::objects::{ObjectError, Objects};
use crate::spec::SpecError;

/// Something that variables refer to, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Source {
    ConfigMap(String),
    Secret(String),
}

impl Source {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::ConfigMap(name) | Self::Secret(name) => name,
        }
    }
}

/// The same, read.
#[derive(Debug, Clone)]
pub(super) enum Object {
    ConfigMap(Arc<ConfigMap>),
    Secret(Arc<Secret>),
}

impl Object {
    pub(super) fn value(&self, key: &str) -> Option<String> {
        match self {
            Self::ConfigMap(map) => map.data.as_ref()?.get(key).cloned(),
            Self::Secret(secret) => {
                secret.data.as_ref()?.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned())
            }
        }
    }

    pub(super) fn all(&self) -> Vec<(String, String)> {
        match self {
            Self::ConfigMap(map) => {
                map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
            }
            Self::Secret(secret) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                secret.data.iter().flatten().map(|(key, value)| (key.clone(), text(&value.0))).collect()
            }
        }
    }
}

/// Everything that was there of what a container refers to.
pub(super) type Sources = HashMap<Source, Object>;

/// What a container refers to, in its order, and whether it can do without.
fn wanted(container: &Container) -> Vec<(Source, bool)> {
    let mut wanted = Vec::new();
    for from in container.env_from.iter().flatten() {
        if let Some(map) = &from.config_map_ref {
            wanted.push((Source::ConfigMap(map.name.clone()), map.optional.unwrap_or_default()));
        } else if let Some(secret) = &from.secret_ref {
            wanted.push((Source::Secret(secret.name.clone()), secret.optional.unwrap_or_default()));
        }
    }
    for variable in container.env.iter().flatten() {
        let Some(from) = variable.value_from.as_ref().filter(|_| variable.value.as_deref().unwrap_or("").is_empty())
        else {
            continue;
        };
        if let Some(map) = &from.config_map_key_ref {
            wanted.push((Source::ConfigMap(map.name.clone()), map.optional.unwrap_or_default()));
        } else if let Some(secret) = &from.secret_key_ref {
            wanted.push((Source::Secret(secret.name.clone()), secret.optional.unwrap_or_default()));
        }
    }
    wanted
}

/// Reads each object once, as it is now.
pub(super) async fn read(objects: &Objects, pod: &Pod, container: &Container) -> Result<Sources, SpecError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut sources = Sources::new();
    for (source, optional) in wanted(container) {
        if sources.contains_key(&source) {
            continue;
        }
        let object = match &source {
            Source::ConfigMap(name) => objects.config_map(namespace, name, true).await.map(Object::ConfigMap),
            Source::Secret(name) => objects.secret(namespace, name, true).await.map(Object::Secret),
        };
        match object {
            Ok(object) => drop(sources.insert(source, object)),
            Err(ObjectError::NotFound { .. }) if optional => {}
            Err(error) => return Err(SpecError::container(error.to_string())),
        }
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_referred_to_is_found_in_order() {
        let container: Container = serde_json::from_value(json!({
            "name": "c",
            "envFrom": [{"secretRef": {"name": "s", "optional": true}}, {"configMapRef": {"name": "m"}}],
            "env": [
                {"name": "A", "value": "x"},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "n", "key": "k"}}},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
        }))
        .unwrap();
        let source = |name: &str| Source::ConfigMap(name.into());
        assert_eq!(
            wanted(&container),
            [(Source::Secret("s".into()), true), (source("m"), false), (source("n"), false)]
        );
    }
}
