//! Owns what one `volumeMount` asks for: where in the volume, how it spreads, how read-only. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::VolumeMount;

use super::error::{Problem, refused};
use super::subpath;
use crate::cri::v1::MountPropagation;

/// The part of the volume that is wanted; nothing for all of it.
pub fn part(mount: &VolumeMount, env: &BTreeMap<String, String>) -> Result<Option<String>, Problem> {
    let expression = mount.sub_path_expr.as_deref().filter(|expression| !expression.is_empty());
    let part = match expression {
        Some(expression) => expand(expression, env)?,
        None => mount.sub_path.clone().unwrap_or_default(),
    };
    subpath::check(&part)?;
    Ok(Some(part).filter(|part| !part.is_empty()))
}

/// An expression with `$(NAME)` replaced; `$$` stands for `$`.
fn expand(expression: &str, env: &BTreeMap<String, String>) -> Result<String, Problem> {
    let mut missing = BTreeSet::new();
    let mut expanded = String::new();
    let mut rest = expression;
    while let Some(start) = rest.find('$') {
        expanded.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let name = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        if let Some((name, after)) = name {
            match env.get(name).filter(|value| !value.is_empty()) {
                Some(value) => expanded.push_str(value),
                None => drop(missing.insert(name)),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = rest.strip_prefix('$').unwrap_or(rest);
        }
    }
    expanded.push_str(rest);
    if missing.is_empty() {
        return Ok(expanded);
    }
    refused(format!("missing value for {}", missing.into_iter().collect::<Vec<_>>().join(", ")))
}

/// How mounts made below it spread.
pub fn propagation(mount: &VolumeMount) -> Result<MountPropagation, Problem> {
    match mount.mount_propagation.as_deref() {
        None | Some("None") => Ok(MountPropagation::PropagationPrivate),
        Some("HostToContainer") => Ok(MountPropagation::PropagationHostToContainer),
        Some("Bidirectional") => Ok(MountPropagation::PropagationBidirectional),
        Some(other) => refused(format!("invalid MountPropagation mode: {other:?}")),
    }
}

/// Whether this asks whether the runtime can make mounts read-only with all below.
pub fn asks_recursive(mount: &VolumeMount) -> bool {
    !matches!(mount.recursive_read_only.as_deref(), None | Some("Disabled"))
}

/// Whether it is read-only with all that is mounted below. `supported`: the runtime can do that.
pub fn recursive(mount: &VolumeMount, supported: bool) -> Result<bool, Problem> {
    if !asks_recursive(mount) {
        return Ok(false);
    }
    let fail = |why: &str| {
        refused(format!(
            "failed to resolve recursive read-only mode: volume {:?} requested recursive read-only mode, but it is {why}",
            mount.name
        ))
    };
    if !mount.read_only.unwrap_or_default() {
        return fail("not read-only");
    }
    if let Some(propagation) = mount.mount_propagation.as_deref().filter(|propagation| *propagation != "None") {
        return fail(&format!("not compatible with propagation {propagation:?}"));
    }
    match mount.recursive_read_only.as_deref() {
        Some("IfPossible") => Ok(supported),
        Some("Enabled") if supported => Ok(true),
        Some("Enabled") => fail("not supported by the runtime"),
        mode => refused(format!(
            "failed to resolve recursive read-only mode: unknown recursive read-only mode {:?}",
            mode.unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mount(more: &serde_json::Value) -> VolumeMount {
        let mut mount = json!({"name": "v", "mountPath": "/v"});
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(mount).unwrap()
    }

    fn part_of(more: serde_json::Value) -> Result<Option<String>, String> {
        let env = [("NAME", "pod"), ("EMPTY", ""), ("UP", ".."), ("TMP", "/tmp")];
        let env = env.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        part(&mount(&more), &env).map_err(|problem| problem.to_string())
    }

    #[test]
    fn parts_are_expanded_and_checked() {
        assert_eq!(part_of(json!({})), Ok(None));
        assert_eq!(part_of(json!({"subPath": "$(NAME)"})), Ok(Some("$(NAME)".into())));
        assert_eq!(part_of(json!({"subPathExpr": "a/$(NAME)-$$(NAME)$(x$"})), Ok(Some("a/pod-$(NAME)$(x$".into())));
        assert_eq!(
            part_of(json!({"subPathExpr": "$(B)$(A)$(EMPTY)$(A)"})).unwrap_err(),
            "missing value for A, B, EMPTY"
        );
        assert_eq!(
            part_of(json!({"subPathExpr": "$(TMP)"})).unwrap_err(),
            "error SubPath `/tmp` must not be an absolute path"
        );
        assert!(part_of(json!({"subPathExpr": "$(UP)"})).unwrap_err().contains("must not contain '..'"));
    }

    #[test]
    fn propagation_is_the_runtimes() {
        let of = |mode: &str| propagation(&mount(&json!({"mountPropagation": mode})));
        assert_eq!(propagation(&mount(&json!({}))).unwrap(), MountPropagation::PropagationPrivate);
        assert_eq!(of("HostToContainer").unwrap(), MountPropagation::PropagationHostToContainer);
        assert_eq!(of("Bidirectional").unwrap(), MountPropagation::PropagationBidirectional);
        assert!(of("Up").is_err());
    }

    #[test]
    fn recursive_read_only_is_refused_where_it_cannot_be() {
        let of = |more, supported| recursive(&mount(&more), supported).map_err(|problem| problem.to_string());
        assert_eq!(of(json!({}), true), Ok(false));
        assert_eq!(of(json!({"readOnly": true, "recursiveReadOnly": "IfPossible"}), false), Ok(false));
        assert_eq!(of(json!({"readOnly": true, "recursiveReadOnly": "Enabled"}), true), Ok(true));
        let refused = of(json!({"readOnly": true, "recursiveReadOnly": "Enabled"}), false).unwrap_err();
        assert!(refused.contains("not supported by the runtime"));
        assert!(of(json!({"recursiveReadOnly": "IfPossible"}), true).unwrap_err().contains("not read-only"));
    }
}
