//! Owns the environment of containers: what it refers to is read first ([`sources`]), what follows from
//! that is pure ([`assemble`]).

mod services;
mod sources;

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::expand::expand;
use super::{Place, SpecError, fields};
use crate::context::Context;
use sources::{Source, Sources};

/// The environment of a container in the order in which it is set.
pub(super) async fn environment(
    context: &Context,
    pod: &Pod,
    container: &Container,
    place: &Place,
) -> Result<Vec<(String, String)>, SpecError> {
    let services = service_variables(context, pod).await?;
    let sources = sources::read(&context.objects, pod, container).await?;
    let node = context.node.borrow().clone();
    let allocatable =
        node.as_ref().and_then(|node| node.status.as_ref()).and_then(|status| status.allocatable.as_ref());
    assemble(&World { pod, container, place, allocatable, sources: &sources }, services).map_err(SpecError::container)
}

async fn service_variables(context: &Context, pod: &Pod) -> Result<Vec<(String, String)>, SpecError> {
    let services = context.objects.services().await;
    if !context.objects.services_known() && !super::admission::is_static(pod) {
        let message = "services have not yet been read at least once, cannot construct envvars";
        return Err(SpecError::container(message));
    }
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    Ok(services::variables(services.iter().map(|service| &**service), namespace, links))
}

/// All that a container's variables can be made of, but for services.
struct World<'a> {
    pod: &'a Pod,
    container: &'a Container,
    place: &'a Place,
    allocatable: Option<&'a BTreeMap<String, Quantity>>,
    sources: &'a Sources,
}

/// Variables in order, each name once.
#[derive(Default)]
struct Variables {
    list: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Variables {
    fn set(&mut self, name: String, value: String) {
        match self.places.get(&name) {
            Some(&place) => self.list[place].1 = value,
            None => {
                self.places.insert(name.clone(), self.list.len());
                self.list.push((name, value));
            }
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.places.get(name).map(|&place| self.list[place].1.clone())
    }
}

fn assemble(world: &World, services: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    let mut variables = Variables::default();
    services.into_iter().for_each(|(name, value)| variables.set(name, value));
    for from in world.container.env_from.iter().flatten() {
        for (name, value) in all_of(from, world.sources) {
            variables.set(name, value);
        }
    }
    for variable in world.container.env.iter().flatten() {
        let EnvVar { name, value, value_from } = variable;
        let value = match (value.as_deref().unwrap_or_default(), value_from) {
            ("", Some(from)) => match looked_up(world, from)? {
                Some(value) => value,
                None => continue,
            },
            (text, _) => expand(text, |name| variables.get(name)),
        };
        variables.set(name.clone(), value);
    }
    Ok(variables.list)
}

fn all_of(from: &EnvFromSource, sources: &Sources) -> Vec<(String, String)> {
    let prefix = from.prefix.as_deref().unwrap_or_default();
    let source = match (&from.config_map_ref, &from.secret_ref) {
        (Some(map), _) => sources.get(&Source::ConfigMap(map.name.clone())),
        (None, Some(secret)) => sources.get(&Source::Secret(secret.name.clone())),
        _ => None,
    };
    source.into_iter().flat_map(|source| source.all()).map(|(key, value)| (format!("{prefix}{key}"), value)).collect()
}

/// The value of a variable that refers to something; none when that is optional and not there.
fn looked_up(world: &World, from: &EnvVarSource) -> Result<Option<String>, String> {
    let namespace = world.pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(field) = &from.field_ref {
        return fields::env_field(world.pod, world.place, &field.field_path).map(Some);
    }
    if let Some(field) = &from.resource_field_ref {
        let allocatable = world.allocatable.ok_or("what the node can give is not known before it is registered")?;
        let divisor = field.divisor.as_ref().map(|divisor| divisor.0.as_str());
        return match field.container_name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => fields::resource(world.pod, allocatable, name, &field.resource, divisor),
            None => {
                let own = world.container.resources.as_ref();
                fields::resource_of(world.pod, allocatable, own, &field.resource, divisor)
            }
        }
        .map(Some);
    }
    let (source, kind, key, optional) = match (&from.config_map_key_ref, &from.secret_key_ref) {
        (Some(map), _) => (Source::ConfigMap(map.name.clone()), "ConfigMap", &map.key, map.optional),
        (None, Some(secret)) => (Source::Secret(secret.name.clone()), "Secret", &secret.key, secret.optional),
        _ if from.file_key_ref.is_some() => {
            return Err("this node does not take variables from files (fileKeyRef); use a config map".to_owned());
        }
        _ => return Ok(Some(String::new())),
    };
    let value = world.sources.get(&source).and_then(|object| object.value(key));
    if value.is_none() && !optional.unwrap_or_default() {
        return Err(format!("couldn't find key {key} in {kind} {namespace}/{}", source.name()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::{Value, json};

    use super::sources::Object;
    use super::*;

    fn sources() -> Sources {
        let map: ConfigMap =
            serde_json::from_value(json!({"data": {"k": "v", "other": "o"}, "binaryData": {"b": "AA=="}})).unwrap();
        let secret: Secret = serde_json::from_value(json!({"data": {"p": "aHVzaA=="}})).unwrap();
        Sources::from([
            (Source::ConfigMap("map".into()), Object::ConfigMap(Arc::new(map))),
            (Source::Secret("secret".into()), Object::Secret(Arc::new(secret))),
        ])
    }

    fn assembled(container: Value, services: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let mut own = container;
        own["name"] = json!("c");
        let pod = json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [own]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let place = Place { pod_ips: vec!["10.0.0.2".into()], host_ips: vec!["1.1.1.1".into()] };
        let allocatable = [("memory".to_owned(), Quantity("1Gi".into()))].into();
        let world = World { pod: &pod, container, place: &place, allocatable: Some(&allocatable), sources: &sources() };
        assemble(&world, services.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    fn shown(container: Value, services: &[(&str, &str)]) -> Vec<String> {
        assembled(container, services).unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn later_ones_replace_earlier_ones_and_see_them() {
        let container = json!({
            "envFrom": [{"configMapRef": {"name": "map"}}, {"prefix": "S-", "secretRef": {"name": "secret"}}],
            "env": [
                {"name": "A", "value": "$(HOST)/$(k)/$(S-p)/$(LATER)/$$(k)"},
                {"name": "k", "value": "new"},
                {"name": "B", "value": "$(k)$(A)"},
                {"name": "LATER", "value": "x"},
                {"name": "E", "value": ""},
            ],
        });
        assert_eq!(
            shown(container, &[("HOST", "h"), ("other", "hidden")]),
            [
                "HOST=h",
                "other=o",
                "k=new",
                "S-p=hush",
                "A=h/v/hush/$(LATER)/$(k)",
                "B=newh/v/hush/$(LATER)/$(k)",
                "LATER=x",
                "E=",
            ]
        );
    }

    #[test]
    fn values_come_from_many_places() {
        let container = json!({
            "resources": {"limits": {"cpu": "2"}},
            "env": [
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "k"}}},
                {"name": "P", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "p"}}},
                {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "q", "optional": true}}},
                {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "q", "optional": true}}},
            ],
        });
        assert_eq!(shown(container, &[]), ["IP=10.0.0.2", "CPU=2", "MEM=1024", "K=v", "P=hush"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let with = |from: Value| assembled(json!({"env": [{"name": "A", "valueFrom": from}]}), &[]).unwrap_err();
        let error = with(json!({"configMapKeyRef": {"name": "map", "key": "x"}}));
        assert_eq!(error, "couldn't find key x in ConfigMap ns/map");
        let error = with(json!({"secretKeyRef": {"name": "secret", "key": "x"}}));
        assert_eq!(error, "couldn't find key x in Secret ns/secret");
        assert!(with(json!({"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}})).contains("fileKeyRef"));
        assert!(with(json!({"fieldRef": {"fieldPath": "spec.x"}})).contains("unsupported fieldPath"));
    }
}
