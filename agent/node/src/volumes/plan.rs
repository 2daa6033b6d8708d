//! Owns reading what a volume needs of the API, and what is then to be done for it on the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, Pod, Secret, Volume, VolumeProjection};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::claims::{self, Place};
use super::empty_dir::Medium;
use super::error::{Problem, refused};
use super::files::{self, MODE, Owner, Read};
use super::layout::{Plugin, PodDir};
use super::work::{Local, Work};
use super::{Volumes, image, nested, uid};
use crate::objects::ObjectError;
use crate::spec::fields;
use crate::spec::quantity::Amount;

/// What was made of a volume.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// What its files were made of.
    fingerprint: u64,
    /// Where its claim leads.
    place: Option<Place>,
}

/// A volume of files as it was read.
struct Files<'a> {
    plugin: Plugin,
    mode: i32,
    reads: Vec<Read<'a>>,
}

impl Volumes {
    /// What is to be done for a volume; nothing where it is as it should be.
    pub(super) async fn plan(
        &self,
        pod: &Pod,
        dir: &PodDir,
        volume: &Volume,
        fresh: bool,
    ) -> Result<Option<(Work, Made)>, Problem> {
        let made = self.made().get(uid(pod)).and_then(|volumes| volumes.get(&volume.name)).cloned();
        if let Some(files) = self.read(pod, volume, fresh).await? {
            let fingerprint = files::fingerprint(&files.reads);
            if made.is_some_and(|made| made.fingerprint == fingerprint) {
                return Ok(None);
            }
            let work = self.files(pod, dir, volume, &files)?;
            return Ok(Some((work, Made { fingerprint, place: None })));
        }
        if made.is_some() || volume.image.is_some() {
            return Ok(None);
        }
        let place = claims::resolve(&self.context.client, pod, volume).await?;
        let work = match (&place, &volume.host_path) {
            (Some(place), _) => self.claimed(pod, dir, place),
            (None, Some(host)) => Work::Host { path: host.path.clone(), kind: host.type_.clone().unwrap_or_default() },
            (None, None) => self.empty(pod, dir, volume)?,
        };
        Ok(Some((work, Made { fingerprint: 0, place })))
    }

    /// Where a volume is on the host, and whether it is read-only by nature.
    pub(super) async fn source(&self, pod: &Pod, dir: &PodDir, volume: &Volume) -> Result<(PathBuf, bool), Problem> {
        if let Some(plugin) = plugin(volume)? {
            if let Some(image) = &volume.image {
                let reference = image.reference.as_deref().unwrap_or_default();
                let path = dir.volume(plugin, &volume.name);
                image::mount(&self.containerd(), uid(pod), &volume.name, reference, &path).await?;
            }
            return Ok((dir.volume(plugin, &volume.name), plugin != Plugin::EmptyDir));
        }
        if let Some(host) = &volume.host_path {
            return Ok((PathBuf::from(&host.path), false));
        }
        let made = self.made().get(uid(pod)).and_then(|made| made.get(&volume.name)?.place.clone());
        let place = match made {
            Some(place) => Some(place),
            // This agent did not make it: it was restarted since.
            None => claims::resolve(&self.context.client, pod, volume).await?,
        };
        match place {
            Some(Place::Host { path, read_only, .. }) => Ok((PathBuf::from(path), read_only)),
            Some(Place::Local { name, read_only, .. }) => Ok((dir.volume(Plugin::Local, &name), read_only)),
            None => refused(format!("volume {:?} leads nowhere", volume.name)),
        }
    }

    fn claimed(&self, pod: &Pod, dir: &PodDir, place: &Place) -> Work {
        match place {
            Place::Host { path, kind, .. } => Work::Host { path: path.clone(), kind: kind.clone() },
            Place::Local { path, name, read_only } => {
                let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
                let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
                Work::Local(Local {
                    source: PathBuf::from(path),
                    dir: dir.volume(Plugin::Local, name),
                    read_only: *read_only,
                    group: Owner::of(pod).group,
                    on_root_mismatch: policy == Some("OnRootMismatch"),
                    root: self.context.settings.root.clone(),
                })
            }
        }
    }

    fn empty(&self, pod: &Pod, dir: &PodDir, volume: &Volume) -> Result<Work, Problem> {
        // Which refuses what is no emptyDir.
        plugin(volume)?;
        let source = volume.empty_dir.as_ref();
        let medium = source.and_then(|source| source.medium.as_deref()).unwrap_or_default();
        let limit = source.and_then(|source| source.size_limit.as_ref());
        Ok(Work::Empty {
            dir: dir.volume(Plugin::EmptyDir, &volume.name),
            medium: Medium::of(pod, medium, limit, self.memory())?,
            group: Owner::of(pod).group,
        })
    }

    fn files(&self, pod: &Pod, dir: &PodDir, volume: &Volume, files: &Files<'_>) -> Result<Work, Problem> {
        let owner = Owner::of(pod);
        Ok(Work::Files {
            dir: dir.volume(files.plugin, &volume.name),
            medium: match files.plugin {
                Plugin::ConfigMap => Medium::Disk,
                _ => Medium::memory(pod, None, self.memory()),
            },
            nested: nested::points(pod, &volume.name)?,
            payload: files::payload(&files.reads, files.mode, owner)?,
            group: owner.group,
        })
    }

    /// The memory that all pods together can have.
    fn memory(&self) -> Option<u64> {
        u64::try_from(Amount::of(self.allocatable().get("memory")?).value()).ok()
    }

    fn allocatable(&self) -> BTreeMap<String, Quantity> {
        let node = self.context.node.borrow().clone();
        node.and_then(|node| node.status.as_ref()?.allocatable.clone()).unwrap_or_default()
    }

    /// Reads what a volume of files is made of; nothing for other volumes.
    async fn read<'a>(&self, pod: &Pod, volume: &'a Volume, fresh: bool) -> Result<Option<Files<'a>>, Problem> {
        let (plugin, mode, reads) = if let Some(source) = &volume.config_map {
            let optional = source.optional.unwrap_or_default();
            let object = self.config_map(pod, &source.name, optional, fresh).await?;
            let items = source.items.as_deref().unwrap_or_default();
            (Plugin::ConfigMap, source.default_mode, vec![Read::ConfigMap { items, optional, object }])
        } else if let Some(source) = &volume.secret {
            let optional = source.optional.unwrap_or_default();
            let name = source.secret_name.as_deref().unwrap_or_default();
            let object = self.secret(pod, name, optional, fresh).await?;
            let items = source.items.as_deref().unwrap_or_default();
            (Plugin::Secret, source.default_mode, vec![Read::Secret { items, optional, object }])
        } else if let Some(source) = &volume.downward_api {
            let read = self.fields(pod, source.items.as_deref().unwrap_or_default())?;
            (Plugin::DownwardApi, source.default_mode, vec![read])
        } else if let Some(source) = &volume.projected {
            let sources = source.sources.as_deref().unwrap_or_default();
            let reads = join_all(sources.iter().map(|source| self.projection(pod, source, fresh))).await;
            (Plugin::Projected, source.default_mode, all(reads)?)
        } else {
            return Ok(None);
        };
        Ok(Some(Files { plugin, mode: mode.unwrap_or(MODE), reads }))
    }

    async fn projection<'a>(&self, pod: &Pod, source: &'a VolumeProjection, fresh: bool) -> Result<Read<'a>, Problem> {
        if let Some(source) = &source.config_map {
            let optional = source.optional.unwrap_or_default();
            let object = self.config_map(pod, &source.name, optional, fresh).await?;
            return Ok(Read::ConfigMap { items: source.items.as_deref().unwrap_or_default(), optional, object });
        }
        if let Some(source) = &source.secret {
            let optional = source.optional.unwrap_or_default();
            let object = self.secret(pod, &source.name, optional, fresh).await?;
            return Ok(Read::Secret { items: source.items.as_deref().unwrap_or_default(), optional, object });
        }
        if let Some(source) = &source.downward_api {
            return self.fields(pod, source.items.as_deref().unwrap_or_default());
        }
        if let Some(source) = &source.service_account_token {
            let text = self.tokens.get(&self.context.client, pod, source).await?;
            return Ok(Read::Private { path: &source.path, text });
        }
        if let Some(source) = &source.cluster_trust_bundle {
            let text = self.trust.get(&self.context.client, source).await?;
            return Ok(Read::Private { path: &source.path, text });
        }
        if source.pod_certificate.is_some() {
            return refused("podCertificate projections are not supported by this node");
        }
        // The API allows a source that says nothing.
        Ok(Read::Fields(Vec::new()))
    }

    async fn config_map(
        &self,
        pod: &Pod,
        name: &str,
        optional: bool,
        fresh: bool,
    ) -> Result<Option<Arc<ConfigMap>>, Problem> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        perhaps(self.context.objects.config_map(namespace, name, fresh).await, optional)
    }

    async fn secret(&self, pod: &Pod, name: &str, optional: bool, fresh: bool) -> Result<Option<Arc<Secret>>, Problem> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        perhaps(self.context.objects.secret(namespace, name, fresh).await, optional)
    }

    fn fields<'a>(&self, pod: &Pod, items: &'a [DownwardAPIVolumeFile]) -> Result<Read<'a>, Problem> {
        let allocatable = self.allocatable();
        let text = |item: &'a DownwardAPIVolumeFile| {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => fields::field(pod, &field.field_path),
                (None, Some(wanted)) => {
                    let container = wanted.container_name.as_deref().unwrap_or_default();
                    let divisor = wanted.divisor.as_ref().map(|divisor| divisor.0.as_str());
                    fields::resource(pod, &allocatable, container, &wanted.resource, divisor)
                }
                (None, None) => Ok(String::new()),
            };
            text.map(|text| (item.path.as_str(), item.mode, text)).map_err(Problem::Refused)
        };
        all(items.iter().map(text).collect()).map(Read::Fields)
    }
}

/// Everything, or all that went wrong.
fn all<T>(results: Vec<Result<T, Problem>>) -> Result<Vec<T>, Problem> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(problem) => bad.push(problem.told()),
        }
    }
    files::joined(bad)?;
    Ok(good)
}

fn perhaps<T>(object: Result<T, ObjectError>, optional: bool) -> Result<Option<T>, Problem> {
    match object {
        Ok(object) => Ok(Some(object)),
        Err(ObjectError::NotFound { .. }) if optional => Ok(None),
        Err(error) => refused(error.to_string()),
    }
}

/// What makes a volume below the root; nothing where it lies elsewhere. What cannot be had is refused.
fn plugin(volume: &Volume) -> Result<Option<Plugin>, Problem> {
    Ok(Some(match source_of(volume).as_deref() {
        // As the API fills it in.
        None | Some("emptyDir") => Plugin::EmptyDir,
        Some("configMap") => Plugin::ConfigMap,
        Some("secret") => Plugin::Secret,
        Some("downwardAPI") => Plugin::DownwardApi,
        Some("projected") => Plugin::Projected,
        Some("image") => Plugin::Image,
        Some("hostPath" | "persistentVolumeClaim" | "ephemeral") => return Ok(None),
        Some(other) => {
            return refused(format!(
                "{other} volumes are not supported by this node: use a claim bound to a hostPath or local PersistentVolume"
            ));
        }
    }))
}

/// The name of the field that says what a volume is.
fn source_of(volume: &Volume) -> Option<String> {
    let volume = serde_json::to_value(volume).ok()?;
    volume.as_object()?.keys().find(|key| *key != "name").cloned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_supported_is_named() {
        let of = |source: serde_json::Value| {
            let mut volume = json!({"name": "v"});
            volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            plugin(&serde_json::from_value(volume).unwrap()).map_err(|problem| problem.to_string())
        };
        assert_eq!(of(json!({})), Ok(Some(Plugin::EmptyDir)));
        assert_eq!(of(json!({"secret": {"secretName": "s"}})), Ok(Some(Plugin::Secret)));
        assert_eq!(of(json!({"downwardAPI": {}})), Ok(Some(Plugin::DownwardApi)));
        assert_eq!(of(json!({"hostPath": {"path": "/"}})), Ok(None));
        assert!(of(json!({"csi": {"driver": "d"}})).unwrap_err().starts_with("csi volumes are not supported"));
        assert!(of(json!({"nfs": {"server": "s", "path": "/"}})).unwrap_err().starts_with("nfs volumes"));
    }

    #[test]
    fn only_what_is_missing_is_optional() {
        let missing = || Err::<(), _>(ObjectError::NotFound { kind: "secret", name: "s".into() });
        let failed = || Err::<(), _>(ObjectError::Failed { kind: "secret", name: "s".into(), message: "m".into() });
        assert!(matches!(perhaps(missing(), true), Ok(None)));
        assert_eq!(perhaps(missing(), false).unwrap_err().to_string(), "secret \"s\" not found");
        assert!(perhaps(failed(), true).is_err());
    }

    #[test]
    fn everything_that_went_wrong_is_told() {
        assert_eq!(all(vec![Ok(1), Ok(2)]).unwrap(), [1, 2]);
        let problem = all(vec![refused("a"), Ok(1), refused("b")]).unwrap_err();
        assert_eq!(problem.to_string(), "[a, b]");
    }
}
