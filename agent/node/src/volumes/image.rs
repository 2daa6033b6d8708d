//! Owns images as volumes. Only the newest containerd mounts one by itself; here the layers of a pulled
//! image are mounted from containerd's snapshots, which every version can show.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::services::v1::snapshots::{MountsRequest, RemoveSnapshotRequest, ViewSnapshotRequest};
use containerd_client::types::Mount;
use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use rustix::mount::MountFlags;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

use super::error::{At, Problem, refused};
use super::mountpoint;
use crate::context::Context;
use crate::cri::v1;

/// Where the CRI keeps its images.
const NAMESPACE: &str = "k8s.io";
/// The CRI's snapshotter unless it is set up otherwise.
const SNAPSHOTTER: &str = "overlayfs";

/// What a container must have pulled for the image volumes that it mounts, as containers of its name: so
/// they can be given to [`crate::images::Images::ensure`].
pub fn wanted(pod: &Pod, container: &Container) -> Vec<Container> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let mounted = |volume: &&Volume| {
        let mounts = container.volume_mounts.iter().flatten();
        mounts.into_iter().any(|mount| mount.name == volume.name)
    };
    let images = volumes.filter(mounted).filter_map(|volume| volume.image.as_ref());
    images
        .map(|image| Container {
            name: container.name.clone(),
            image: image.reference.clone(),
            image_pull_policy: image.pull_policy.clone(),
            ..Default::default()
        })
        .collect()
}

/// Mounts an image that was pulled at `dir`, read-only; once.
pub async fn mount(context: &Context, uid: &str, volume: &str, reference: &str, dir: &Path) -> Result<(), Problem> {
    if mountpoint::is_mount_point(dir).at("look at", dir)? {
        return Ok(());
    }
    let layers = layers(context, reference).await?;
    // The folder comes first: by it the snapshot is found again and let go of.
    tokio::fs::create_dir_all(dir).await.at("make", dir)?;
    let snapshots = Snapshots::connect(context).await;
    let mounts = snapshots.view(&key(uid, volume), &layers).await.map_err(|status| unseen(reference, &status))?;
    let dir = dir.to_owned();
    super::blocking(move || mount_layers(&mounts, &dir)).await?
}

/// Lets go of the image of a volume that is no longer mounted.
pub async fn release(context: &Context, uid: &str, volume: &str) -> Result<(), Problem> {
    let removed = Snapshots::connect(context).await.remove(&key(uid, volume)).await;
    removed.map_err(|status| Problem::Refused(format!("cannot let go of an image: {}", status.message())))
}

fn key(uid: &str, volume: &str) -> String {
    format!("keelson-volume-{uid}-{volume}")
}

fn unseen(reference: &str, status: &Status) -> Problem {
    Problem::Refused(format!("cannot look into image {reference:?}: {}", status.message()))
}

/// The topmost layer of an image, by which containerd knows them all.
async fn layers(context: &Context, reference: &str) -> Result<String, Problem> {
    let image = Some(v1::ImageSpec { image: reference.to_owned(), ..Default::default() });
    let status = context.cri.image_status(v1::ImageStatusRequest { image, verbose: true }).await;
    let status = status.map_err(|error| Problem::Refused(format!("cannot look for image {reference:?}: {error}")))?;
    if status.image.is_none() {
        return refused(format!("image {reference:?} is not there"));
    }
    match status.info.get("info").and_then(|info| chain_id(info)) {
        Some(chain) => Ok(chain),
        None => refused(format!("the runtime does not say which layers image {reference:?} has")),
    }
}

fn chain_id(info: &str) -> Option<String> {
    let info: serde_json::Value = serde_json::from_str(info).ok()?;
    info.get("chainID")?.as_str().filter(|chain| !chain.is_empty()).map(str::to_owned)
}

/// The name of the snapshotter in the runtime's own account of its configuration.
fn snapshotter_of(config: &str) -> Option<String> {
    let config: serde_json::Value = serde_json::from_str(config).ok()?;
    config.get("containerd")?.get("snapshotter")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
}

struct Snapshots {
    client: SnapshotsClient<Channel>,
    snapshotter: String,
}

impl Snapshots {
    /// A connection of its own: images as volumes are rare.
    async fn connect(context: &Context) -> Self {
        let path = context.settings.containerd.clone();
        let connect = move |_: Uri| {
            let path: PathBuf = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        };
        let channel =
            Endpoint::from_static("http://containerd").connect_with_connector_lazy(tower::service_fn(connect));
        let status = context.cri.status(v1::StatusRequest { verbose: true }).await.ok();
        let config = status.as_ref().and_then(|status| status.info.get("config"));
        let snapshotter = config.and_then(|config| snapshotter_of(config)).unwrap_or_else(|| SNAPSHOTTER.to_owned());
        Self { client: SnapshotsClient::new(channel), snapshotter }
    }

    async fn view(&self, key: &str, parent: &str) -> Result<Vec<Mount>, Status> {
        // Without this containerd would collect it at once.
        let kept = ("containerd.io/gc.root".to_owned(), jiff::Timestamp::now().to_string());
        let view = ViewSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: HashMap::from([kept]),
        };
        match self.client.clone().view(within(view)).await {
            Err(status) if status.code() == Code::AlreadyExists => {
                let mounts = MountsRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
                Ok(self.client.clone().mounts(within(mounts)).await?.into_inner().mounts)
            }
            view => Ok(view?.into_inner().mounts),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), Status> {
        let remove = RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
        match self.client.clone().remove(within(remove)).await {
            Err(status) if status.code() != Code::NotFound => Err(status),
            _ => Ok(()),
        }
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", tonic::metadata::MetadataValue::from_static(NAMESPACE));
    request
}

fn mount_layers(mounts: &[Mount], dir: &Path) -> Result<(), Problem> {
    let [mount] = mounts else { return refused(format!("an image is {} mounts, not one", mounts.len())) };
    match mount.r#type.as_str() {
        "bind" => {
            mountpoint::bind(Path::new(&mount.source), dir, true)?;
            mountpoint::make_read_only(dir)
        }
        kind => {
            let data = data(&mount.options);
            let Ok(data) = std::ffi::CString::new(data) else { return refused("an option of a mount has a zero byte") };
            rustix::mount::mount(&mount.source, dir, kind, MountFlags::RDONLY, Some(data.as_c_str())).at("mount", dir)
        }
    }
}

/// The options that are the file system's own.
fn data(options: &[String]) -> String {
    let own = options.iter().filter(|option| !matches!(option.as_str(), "ro" | "rw" | "bind" | "rbind"));
    own.map(String::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_runtime_says_layers_and_snapshotter() {
        assert_eq!(chain_id(r#"{"chainID":"sha256:1","imageSpec":{}}"#).as_deref(), Some("sha256:1"));
        assert_eq!(chain_id(r#"{"chainID":""}"#), None);
        assert_eq!(snapshotter_of(r#"{"containerd":{"snapshotter":"native"}}"#).as_deref(), Some("native"));
        assert_eq!(snapshotter_of("{}"), None);
    }

    #[test]
    fn a_container_wants_the_images_that_it_mounts() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": {"containers": [
            {"name": "c", "volumeMounts": [{"name": "a", "mountPath": "/a"}, {"name": "e", "mountPath": "/e"}]},
        ], "volumes": [
            {"name": "a", "image": {"reference": "r/a:1", "pullPolicy": "Never"}},
            {"name": "b", "image": {"reference": "r/b:1"}},
            {"name": "e", "emptyDir": {}},
        ]}}))
        .unwrap();
        let wanted = wanted(&pod, &pod.spec.as_ref().unwrap().containers[0]);
        assert_eq!(wanted.len(), 1);
        assert_eq!((wanted[0].name.as_str(), wanted[0].image.as_deref()), ("c", Some("r/a:1")));
        assert_eq!(wanted[0].image_pull_policy.as_deref(), Some("Never"));
    }

    #[test]
    fn one_layer_is_bound_and_cannot_be_written() {
        let root = tempfile::tempdir().unwrap();
        let (layer, dir) = (root.path().join("layer"), root.path().join("v"));
        std::fs::create_dir(&layer).unwrap();
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(layer.join("file"), "x").unwrap();
        let options = vec!["ro".to_owned(), "rbind".to_owned()];
        let source = layer.to_str().unwrap().to_owned();
        let mount = Mount { r#type: "bind".into(), source, target: String::new(), options };
        mount_layers(&[mount], &dir).unwrap();
        assert_eq!(std::fs::read_to_string(dir.join("file")).unwrap(), "x");
        assert!(std::fs::write(dir.join("new"), "x").is_err());
        mountpoint::unmount_below(root.path()).unwrap();
        assert_eq!(data(&["ro".into(), "lowerdir=/a:/b".into(), "index=off".into()]), "lowerdir=/a:/b,index=off");
    }
}
