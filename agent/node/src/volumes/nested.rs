//! Owns mount points within volumes that containers cannot write to: they must be there beforehand.

use k8s_openapi::api::core::v1::{Pod, VolumeMount};

use super::error::{Problem, refused};

/// The folders, relative to the root of a volume, at which containers mount other volumes.
pub fn points(pod: &Pod, volume: &str) -> Result<Vec<String>, Problem> {
    let Some(spec) = pod.spec.as_ref() else { return Ok(Vec::new()) };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mounts = containers.map(|container| container.volume_mounts.as_deref().unwrap_or_default());
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let mounts = mounts.chain(ephemeral.map(|container| container.volume_mounts.as_deref().unwrap_or_default()));
    let mut found = Vec::new();
    for mounts in mounts {
        add(mounts, volume, &mut found)?;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn add(mounts: &[VolumeMount], volume: &str, found: &mut Vec<String>) -> Result<(), Problem> {
    let mut all = mounts.iter().map(|mount| clean(&mount.mount_path)).collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    for mount in mounts.iter().filter(|mount| mount.name == volume) {
        let own = format!("{}/", clean(&mount.mount_path)?);
        let mut above: Vec<String> = Vec::new();
        for nested in all.iter().filter_map(|path| path.strip_prefix(&own)) {
            // What lies below another one is in that volume.
            if !above.iter().any(|above| nested.starts_with(above)) {
                above.push(format!("{nested}/"));
                found.push(nested.to_owned());
            }
        }
    }
    Ok(())
}

fn clean(path: &str) -> Result<String, Problem> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() && !path.starts_with('/') => {
                return refused(format!("invalid container mount point {path}"));
            }
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(mounts: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mounts: Vec<_> = mounts.iter().map(|(name, path)| json!({"name": name, "mountPath": path})).collect();
        let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "c", "volumeMounts": mounts}]}});
        points(&serde_json::from_value(pod).unwrap(), "v").map_err(|problem| problem.to_string())
    }

    #[test]
    fn only_the_first_level_is_made() {
        let mounts = [
            ("v", "/dir"),
            ("a", "/dir/nested"),
            ("b", "/dir/nested-vol"),
            ("c", "/dir/nested/double"),
            ("d", "/dirx/other"),
            ("e", "/dir/deep/er/"),
        ];
        assert_eq!(nested(&mounts).unwrap(), ["deep/er", "nested", "nested-vol"]);
        assert_eq!(nested(&[("v", "/dir"), ("a", "/")]).unwrap(), [""; 0]);
        assert_eq!(nested(&[("v", "/a"), ("x", "/a/../../b")]).unwrap(), [""; 0]);
        assert!(nested(&[("v", "../x"), ("a", "/dir")]).unwrap_err().contains("invalid container mount point"));
    }
}
