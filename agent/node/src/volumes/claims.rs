//! Owns PersistentVolumeClaims, as far as what they are bound to is a folder of this host: hostPath and
//! local PersistentVolumes. Anything else needs a CSI driver, which this node leaves out on purpose.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};

use super::error::{Problem, refused};

/// Where a claim leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path of the host, used as it is.
    Host {
        /// The path.
        path: String,
        /// What must be there, as hostPath has it.
        kind: String,
        /// Whether the claim is used read-only.
        read_only: bool,
    },
    /// A folder of the host that is given to one pod after the other.
    Local {
        /// The path.
        path: String,
        /// The PersistentVolume's name.
        name: String,
        /// Whether the claim is used read-only.
        read_only: bool,
    },
}

/// The claim that a volume of a pod stands for, and whether it is used read-only.
pub fn claim(pod: &Pod, volume: &Volume) -> Option<(String, bool)> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some((claim.claim_name.clone(), claim.read_only.unwrap_or_default()));
    }
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    volume.ephemeral.as_ref().map(|_| (format!("{pod}-{}", volume.name), false))
}

/// Reads the claim and what it is bound to.
pub async fn resolve(client: &kube::Client, pod: &Pod, volume: &Volume) -> Result<Option<Place>, Problem> {
    let Some((name, read_only)) = claim(pod, volume) else { return Ok(None) };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let claims: kube::Api<PersistentVolumeClaim> = kube::Api::namespaced(client.clone(), namespace);
    let Some(claim) = claims.get_opt(&name).await.map_err(|error| unreadable("claim", &name, &error))? else {
        return refused(format!("persistentvolumeclaim {name:?} not found"));
    };
    if volume.ephemeral.is_some() {
        owned(&claim, pod)?;
    }
    let bound = bound_to(&claim)?;
    let volumes: kube::Api<PersistentVolume> = kube::Api::all(client.clone());
    let Some(bound) = volumes.get_opt(bound).await.map_err(|error| unreadable("volume", bound, &error))? else {
        return refused(format!("persistentvolume {bound:?} not found"));
    };
    place(&claim, &bound, read_only).map(Some)
}

fn unreadable(what: &str, name: &str, error: &kube::Error) -> Problem {
    Problem::Refused(format!("cannot read persistent {what} {name:?}: {error}"))
}

/// A claim made for a pod is that pod's, not one that happens to have its name.
fn owned(claim: &PersistentVolumeClaim, pod: &Pod) -> Result<(), Problem> {
    let owners = claim.metadata.owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    if controllers.any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref()) {
        return Ok(());
    }
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    refused(format!("PVC {name} was not created for this pod (the pod is not its owner)"))
}

fn bound_to(claim: &PersistentVolumeClaim) -> Result<&str, Problem> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
    match volume {
        Some(volume) if phase == Some("Bound") => Ok(volume),
        _ => refused("PVC is not bound"),
    }
}

/// Where a claim and its volume lead.
fn place(claim: &PersistentVolumeClaim, volume: &PersistentVolume, read_only: bool) -> Result<Place, Problem> {
    let name = volume.metadata.name.clone().unwrap_or_default();
    let Some(spec) = &volume.spec else { return refused(format!("persistentvolume {name:?} has no spec")) };
    let claimed = spec.claim_ref.as_ref().and_then(|claimed| claimed.uid.as_ref());
    if claimed != claim.metadata.uid.as_ref() {
        return refused(format!("persistentvolume {name:?} is bound to another claim"));
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return refused("volumes of mode Block are not supported by this node");
    }
    if let Some(host) = &spec.host_path {
        let kind = host.type_.clone().unwrap_or_default();
        return Ok(Place::Host { path: host.path.clone(), kind, read_only });
    }
    if let Some(local) = &spec.local {
        return Ok(Place::Local { path: local.path.clone(), name, read_only });
    }
    let driver = spec.csi.as_ref().map(|csi| format!("CSI driver {}", csi.driver));
    let driver = driver.unwrap_or_else(|| "kind of volume".to_owned());
    refused(format!(
        "persistentvolume {name:?} needs a {driver}, which this node does not support: use a hostPath or local PersistentVolume"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim_of(status: &str) -> PersistentVolumeClaim {
        let claim =
            json!({"metadata": {"name": "c", "uid": "1"}, "spec": {"volumeName": "v"}, "status": {"phase": status}});
        serde_json::from_value(claim).unwrap()
    }

    fn lead(spec: serde_json::Value) -> Result<Place, String> {
        let volume = serde_json::from_value(json!({"metadata": {"name": "v"}, "spec": spec})).unwrap();
        place(&claim_of("Bound"), &volume, true).map_err(|problem| problem.to_string())
    }

    #[test]
    fn claims_lead_to_folders_of_the_host() {
        let host = lead(json!({"claimRef": {"uid": "1"}, "hostPath": {"path": "/d", "type": "Directory"}}));
        assert_eq!(host, Ok(Place::Host { path: "/d".into(), kind: "Directory".into(), read_only: true }));
        let local = lead(json!({"claimRef": {"uid": "1"}, "local": {"path": "/d"}}));
        assert_eq!(local, Ok(Place::Local { path: "/d".into(), name: "v".into(), read_only: true }));
        let csi = lead(json!({"claimRef": {"uid": "1"}, "csi": {"driver": "x.io", "volumeHandle": "h"}}));
        assert!(csi.unwrap_err().contains("needs a CSI driver x.io"));
        assert!(
            lead(json!({"claimRef": {"uid": "2"}, "hostPath": {"path": "/d"}})).unwrap_err().contains("another claim")
        );
        assert!(lead(json!({"claimRef": {"uid": "1"}, "volumeMode": "Block", "local": {"path": "/d"}})).is_err());
    }

    #[test]
    fn claims_are_bound_and_the_pods_own() {
        assert_eq!(bound_to(&claim_of("Bound")).unwrap(), "v");
        assert_eq!(bound_to(&claim_of("Pending")).unwrap_err().to_string(), "PVC is not bound");
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "uid": "9"}})).unwrap();
        let volume: Volume = serde_json::from_value(json!({"name": "data", "ephemeral": {}})).unwrap();
        assert_eq!(claim(&pod, &volume), Some(("p-data".to_owned(), false)));
        let mut made = claim_of("Bound");
        assert!(owned(&made, &pod).is_err());
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "9", "controller": true}]);
        made.metadata.owner_references = serde_json::from_value(owner).unwrap();
        owned(&made, &pod).unwrap();
    }
}
