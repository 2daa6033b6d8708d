//! Owns what the downward API shows of a pod: its fields, and the resources of its containers. Pure;
//! for the environment and for volumes alike.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::Place;
use super::quantity::Amount;

/// A field of the metadata: name, namespace, uid, labels and annotations (all as sorted `key="value"`
/// lines, or one by `labels['key']`). What has no value is empty.
pub fn field(pod: &Pod, path: &str) -> Result<String, String> {
    let meta = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        if key.is_empty() {
            return Err(format!("invalid key subscript in {path}: name part must be non-empty"));
        }
        return Ok(values.as_ref().and_then(|values| values.get(key)).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => Ok(meta.name.clone().unwrap_or_default()),
        "metadata.namespace" => Ok(meta.namespace.clone().unwrap_or_default()),
        "metadata.uid" => Ok(meta.uid.clone().unwrap_or_default()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        _ => Err(format!("unsupported fieldPath: {path}")),
    }
}

/// A field as a variable of the environment can have it: beyond [`field`] where the pod is and who it
/// runs as.
pub fn env_field(pod: &Pod, place: &Place, path: &str) -> Result<String, String> {
    let spec = pod.spec.as_ref();
    Ok(match path {
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => place.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => place.host_ips.join(","),
        "status.podIP" => place.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => place.pod_ips.join(","),
        _ => return field(pod, path),
    })
}

/// A resource of a container of the pod (`limits.cpu`, `requests.memory`, ...) in units of `divisor`,
/// rounded up. A limit that is not set is the pod's or else what the node can give.
pub fn resource(
    pod: &Pod,
    allocatable: &BTreeMap<String, Quantity>,
    container: &str,
    resource: &str,
    divisor: Option<&str>,
) -> Result<String, String> {
    let spec = pod.spec.as_ref();
    let mut all = spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let found: Option<&Container> = all.find(|candidate| candidate.name == container);
    let found = found.ok_or_else(|| format!("container {container} not found"))?;
    resource_of(pod, allocatable, found.resources.as_ref(), resource, divisor)
}

/// The same, of a container that is at hand.
pub(super) fn resource_of(
    pod: &Pod,
    allocatable: &BTreeMap<String, Quantity>,
    resources: Option<&ResourceRequirements>,
    resource: &str,
    divisor: Option<&str>,
) -> Result<String, String> {
    let unsupported = || format!("unsupported container resource : {resource}");
    let (side, name) = resource.split_once('.').ok_or_else(unsupported)?;
    let common = matches!(name, "cpu" | "memory" | "ephemeral-storage");
    if !common && !name.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let amount = match side {
        "requests" => amount(resources.and_then(|resources| resources.requests.as_ref()), name),
        "limits" => {
            let own = amount(resources.and_then(|resources| resources.limits.as_ref()), name);
            if common && own.is_zero() { default_limit(pod, allocatable, name) } else { own }
        }
        _ => return Err(unsupported()),
    };
    let divisor = divisor.map(|text| Amount::parse(text).ok_or_else(|| format!("invalid divisor {text:?}")));
    let divisor = divisor.transpose()?.filter(|divisor| !divisor.is_zero()).unwrap_or(Amount::whole(1));
    let (amount, divisor) =
        if name == "cpu" { (amount.milli(), divisor.milli()) } else { (amount.value(), divisor.value()) };
    Ok((amount / divisor + i64::from(amount % divisor != 0)).to_string())
}

fn amount(list: Option<&BTreeMap<String, Quantity>>, name: &str) -> Amount {
    list.and_then(|list| list.get(name)).map(Amount::of).unwrap_or_default()
}

fn default_limit(pod: &Pod, allocatable: &BTreeMap<String, Quantity>, name: &str) -> Amount {
    let whole = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let whole = amount(whole.and_then(|resources| resources.limits.as_ref()), name);
    match allocatable.get(name) {
        Some(_) if !whole.is_zero() => whole,
        Some(allocatable) => Amount::of(allocatable),
        None => Amount::ZERO,
    }
}

/// `path['key']` taken apart.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['").filter(|(map, _)| !map.is_empty())
}

fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in map.into_iter().flatten() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(key);
        text.push('=');
        quote(&mut text, value);
    }
    text
}

/// Quotes as Go does, which is what those who read these files expect.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{7}' => text.push_str("\\a"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{b}' => text.push_str("\\v"),
            // Writing to a String cannot fail.
            c if c < ' ' || c == '\u{7f}' => drop(write!(text, "\\x{:02x}", u32::from(c))),
            c if c != ' ' && (c.is_control() || c.is_whitespace()) => drop(write!(text, "\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u-1",
                "labels": {"b": "2", "a": "1"},
                "annotations": {"note": "say \"hi\"\n\u{1}ä\u{a0}", "a['b": "odd"},
            },
            "spec": {
                "nodeName": "n1", "serviceAccountName": "default",
                "containers": [{
                    "name": "c",
                    "resources": {
                        "limits": {"cpu": "1500m", "hugepages-2Mi": "4Mi"},
                        "requests": {"cpu": "250m", "memory": "100Mi"},
                    },
                }],
                "initContainers": [{"name": "i"}],
            },
        }))
        .unwrap()
    }

    fn allocatable() -> BTreeMap<String, Quantity> {
        [("cpu", "2"), ("memory", "1Gi")].map(|(name, value)| (name.to_owned(), Quantity(value.to_owned()))).into()
    }

    #[test]
    fn metadata_is_shown() {
        let pod = pod();
        assert_eq!(field(&pod, "metadata.name").unwrap(), "web");
        assert_eq!(field(&pod, "metadata.namespace").unwrap(), "shop");
        assert_eq!(field(&pod, "metadata.uid").unwrap(), "u-1");
        assert_eq!(field(&pod, "metadata.labels").unwrap(), "a=\"1\"\nb=\"2\"");
        assert_eq!(field(&pod, "metadata.labels['b']").unwrap(), "2");
        assert_eq!(field(&pod, "metadata.labels['none']").unwrap(), "");
        assert_eq!(field(&pod, "metadata.annotations['a['b']").unwrap(), "odd");
        let all = field(&pod, "metadata.annotations").unwrap();
        assert_eq!(all, "a['b=\"odd\"\nnote=\"say \\\"hi\\\"\\n\\x01ä\\u00a0\"");
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let pod = pod();
        assert_eq!(field(&pod, "metadata.nothing").unwrap_err(), "unsupported fieldPath: metadata.nothing");
        assert!(field(&pod, "metadata.name['x']").unwrap_err().contains("does not support subscript"));
        assert!(field(&pod, "metadata.labels['']").is_err());
        assert!(field(&pod, "status.podIP").is_err());
    }

    #[test]
    fn the_environment_also_sees_the_place() {
        let place = Place {
            pod_ips: vec!["10.0.0.2".into(), "fd00::2".into()],
            host_ips: vec!["1.1.1.1".into(), "::1".into()],
        };
        let show = |path| env_field(&pod(), &place, path).unwrap();
        assert_eq!(show("spec.nodeName"), "n1");
        assert_eq!(show("spec.serviceAccountName"), "default");
        assert_eq!(show("status.hostIP"), "1.1.1.1");
        assert_eq!(show("status.hostIPs"), "1.1.1.1,::1");
        assert_eq!(show("status.podIP"), "10.0.0.2");
        assert_eq!(show("status.podIPs"), "10.0.0.2,fd00::2");
        assert_eq!(show("metadata.uid"), "u-1");
    }

    #[test]
    fn resources_are_divided_and_rounded_up() {
        let show = |container, name, divisor| resource(&pod(), &allocatable(), container, name, divisor);
        assert_eq!(show("c", "limits.cpu", None).unwrap(), "2");
        assert_eq!(show("c", "limits.cpu", Some("1m")).unwrap(), "1500");
        assert_eq!(show("c", "requests.cpu", Some("0")).unwrap(), "1");
        assert_eq!(show("c", "requests.memory", Some("1Mi")).unwrap(), "100");
        assert_eq!(show("c", "requests.memory", Some("1Gi")).unwrap(), "1");
        assert_eq!(show("c", "limits.hugepages-2Mi", Some("1Mi")).unwrap(), "4");
        assert_eq!(show("c", "limits.memory", Some("1Mi")).unwrap(), "1024");
        assert_eq!(show("i", "limits.cpu", None).unwrap(), "2");
        assert_eq!(show("i", "requests.cpu", None).unwrap(), "0");
        assert_eq!(show("x", "limits.cpu", None).unwrap_err(), "container x not found");
        assert!(show("c", "limits.pods", None).is_err());
        assert!(show("c", "cpu", None).is_err());
        assert!(show("c", "limits.cpu", Some("1K")).is_err());
    }

    #[test]
    fn limits_of_the_pod_come_before_the_nodes() {
        let mut pod = pod();
        let limits = [("memory".to_owned(), Quantity("512Mi".into()))].into();
        let spec = pod.spec.get_or_insert_default();
        spec.resources = Some(ResourceRequirements { limits: Some(limits), ..Default::default() });
        assert_eq!(resource(&pod, &allocatable(), "c", "limits.memory", Some("1Mi")).unwrap(), "512");
        assert_eq!(resource(&pod, &allocatable(), "i", "limits.cpu", None).unwrap(), "2");
    }
}
