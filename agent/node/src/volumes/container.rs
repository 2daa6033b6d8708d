//! Owns what is mounted into one container: parts of its pod's volumes, the hosts file, the file for its
//! last words.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::error::{At, Problem, VolumeError, refused};
use super::layout::PodDir;
use super::{Volumes, blocking, hosts, make_private, mounts, subpath, termination, volumes};
use crate::cri::v1;

const HOSTS: &str = "/etc/hosts";

/// What /etc/hosts of a container is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hosts {
    /// It is none of ours.
    Unmanaged,
    /// The pod's addresses and name.
    Pod,
    /// The host's own file.
    Host,
}

impl Hosts {
    fn of(pod: &Pod, container: &Container, ips: &[String]) -> Self {
        let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or_default();
        let own = container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == HOSTS);
        match (own, host_network) {
            (true, _) => Self::Unmanaged,
            (false, true) => Self::Host,
            (false, false) if ips.is_empty() => Self::Unmanaged,
            (false, false) => Self::Pod,
        }
    }
}

/// A part of a volume that is to be mounted for a container.
struct Part {
    volume: PathBuf,
    path: String,
    target: PathBuf,
}

/// What is to be done on the disk before a container can be made.
struct Errand {
    dir: PodDir,
    parts: Vec<(String, Part)>,
    hosts: Hosts,
    hosts_of_pod: String,
    pod: Pod,
    container: String,
    last_words: Option<PathBuf>,
    restart: u32,
}

impl Volumes {
    /// What to mount into a container: its `volumeMounts` with subPath and subPathExpr (by `env`), read-only
    /// and propagation, /etc/hosts (managed, unless the pod has the host's network or the container mounts its
    /// own), and the termination message file. Fails as `CreateContainerConfigError` does.
    pub async fn mounts(
        &self,
        pod: &Pod,
        container: &Container,
        env: &BTreeMap<String, String>,
        pod_ips: &[String],
        restart: u32,
    ) -> Result<Vec<v1::Mount>, VolumeError> {
        let described = async {
            refuse_devices(container)?;
            let dir = self.dir(pod)?;
            let (mut mounts, mut parts) = (Vec::new(), Vec::new());
            for (index, wanted) in container.volume_mounts.iter().flatten().enumerate() {
                let (mut mount, part) = self.mount(pod, &dir, container, wanted, env).await?;
                if let Some(path) = part {
                    let target = dir.subpath(&wanted.name, &container.name, index);
                    let volume = PathBuf::from(std::mem::replace(&mut mount.host_path, text(&target)?));
                    parts.push((wanted.name.clone(), Part { volume, path, target }));
                }
                mounts.push(mount);
            }
            let hosts = Hosts::of(pod, container, pod_ips);
            if hosts != Hosts::Unmanaged {
                mounts.push(plain(text(&dir.hosts())?, HOSTS.to_owned()));
            }
            let path = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
            let last_words = path.map(|_| dir.termination(&container.name, restart));
            if let (Some(path), Some(file)) = (path, &last_words) {
                mounts.push(plain(text(file)?, absolute(path)));
            }
            let hosts_of_pod = match hosts {
                Hosts::Pod => hosts::content(pod, pod_ips, &self.context.settings.cluster_domain, None)?,
                Hosts::Host | Hosts::Unmanaged => String::new(),
            };
            let (pod, container) = (pod.clone(), container.name.clone());
            let errand = Errand { dir, parts, hosts, hosts_of_pod, pod, container, last_words, restart };
            blocking(move || errand.run()).await??;
            Ok(mounts)
        };
        let described: Result<_, Problem> = described.await;
        described.map_err(|problem| VolumeError { reason: "CreateContainerConfigError", message: problem.told() })
    }

    /// One mount of all of a volume, and the part of it that is wanted instead.
    async fn mount(
        &self,
        pod: &Pod,
        dir: &PodDir,
        container: &Container,
        wanted: &VolumeMount,
        env: &BTreeMap<String, String>,
    ) -> Result<(v1::Mount, Option<String>), Problem> {
        let Some(volume) = volumes(pod).iter().find(|volume| volume.name == wanted.name) else {
            let (volume, container) = (&wanted.name, &container.name);
            return refused(format!("cannot find volume {volume:?} to mount into container {container:?}"));
        };
        let part = mounts::part(wanted, env)?;
        let propagation = mounts::propagation(wanted)?;
        let supported = mounts::asks_recursive(wanted) && self.can_recurse(pod).await;
        let recursive_read_only = mounts::recursive(wanted, supported)?;
        let (path, read_only) = self.source(pod, dir, volume).await?;
        let mount = v1::Mount {
            container_path: absolute(&wanted.mount_path),
            host_path: text(&path)?,
            readonly: read_only || wanted.read_only.unwrap_or_default(),
            recursive_read_only,
            propagation: propagation.into(),
            ..Default::default()
        };
        Ok((mount, part))
    }

    /// Whether the runtime can make mounts read-only with all that is mounted below; known for its
    /// default handler only.
    async fn can_recurse(&self, pod: &Pod) -> bool {
        if pod.spec.as_ref().is_some_and(|spec| spec.runtime_class_name.is_some()) {
            return false;
        }
        let Ok(status) = self.context.cri.status(v1::StatusRequest { verbose: false }).await else { return false };
        let default = status.runtime_handlers.iter().find(|handler| handler.name.is_empty());
        default
            .and_then(|handler| handler.features.as_ref())
            .is_some_and(|features| features.recursive_read_only_mounts)
    }
}

impl Errand {
    fn run(self) -> Result<(), Problem> {
        make_private(self.dir.path())?;
        for (volume, part) in &self.parts {
            if let Err(problem) = subpath::mount(&part.volume, &part.path, &part.target) {
                // What is on the host is nothing that the pod's owner is to be told.
                let container = &self.container;
                tracing::warn!(container, volume, "cannot mount a subPath: {}", problem.told());
                return refused(format!(
                    "failed to prepare subPath for volumeMount {volume:?} of container {container:?}"
                ));
            }
        }
        match self.hosts {
            Hosts::Unmanaged => {}
            Hosts::Pod => hosts::write(&self.dir.hosts(), &self.hosts_of_pod)?,
            Hosts::Host => {
                let host = fs::read(HOSTS).at("read", Path::new(HOSTS))?;
                let host = String::from_utf8_lossy(&host);
                hosts::write(&self.dir.hosts(), &hosts::content(&self.pod, &[], "", Some(&host))?)?;
            }
        }
        self.last_words.map_or(Ok(()), |file| termination::make(&file, self.restart))
    }
}

fn refuse_devices(container: &Container) -> Result<(), Problem> {
    let Some(device) = container.volume_devices.iter().flatten().next() else { return Ok(()) };
    refused(format!(
        "cannot find volume {:?} to pass into container {:?}: volumes of mode Block are not supported by this node",
        device.name, container.name
    ))
}

fn plain(host_path: String, container_path: String) -> v1::Mount {
    v1::Mount { container_path, host_path, ..Default::default() }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn text(path: &Path) -> Result<String, Problem> {
    match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => refused(format!("{} is not UTF-8", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::volumes::mountpoint;

    #[test]
    fn hosts_are_managed_unless_the_container_has_its_own() {
        let of = |host_network: bool, mounted: &str, ips: &[String]| {
            let container = json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": mounted}]});
            let pod = json!({"metadata": {}, "spec": {"containers": [], "hostNetwork": host_network}});
            let (pod, container) = (serde_json::from_value(pod).unwrap(), serde_json::from_value(container).unwrap());
            Hosts::of(&pod, &container, ips)
        };
        let ips = ["10.0.0.1".to_owned()];
        assert_eq!(of(false, "/etc/hosts", &ips), Hosts::Unmanaged);
        assert_eq!(of(false, "/etc/hosts-original", &ips), Hosts::Pod);
        assert_eq!(of(false, "/v", &[]), Hosts::Unmanaged);
        assert_eq!(of(true, "/v", &[]), Hosts::Host);
    }

    #[test]
    fn an_errand_prepares_all_that_a_container_mounts() {
        let root = tempfile::tempdir().unwrap();
        let dir = PodDir::new(root.path(), "u").unwrap();
        let volume = root.path().join("volume");
        fs::create_dir(&volume).unwrap();
        let errand = |path: &str| Errand {
            dir: dir.clone(),
            parts: vec![(
                "v".to_owned(),
                Part { volume: volume.clone(), path: path.to_owned(), target: dir.subpath("v", "c", 0) },
            )],
            hosts: Hosts::Host,
            hosts_of_pod: String::new(),
            pod: Pod::default(),
            container: "c".to_owned(),
            last_words: Some(dir.termination("c", 3)),
            restart: 3,
        };
        errand("a/b").run().unwrap();
        assert!(mountpoint::is_mount_point(&dir.subpath("v", "c", 0)).unwrap());
        assert!(
            fs::read_to_string(dir.hosts()).unwrap().starts_with("# Kubernetes-managed hosts file (host network).\n")
        );
        assert_eq!(fs::read_to_string(dir.termination("c", 3)).unwrap(), "");
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        let refused = errand("out").run().unwrap_err().to_string();
        mountpoint::unmount_below(root.path()).unwrap();
        assert_eq!(refused, "failed to prepare subPath for volumeMount \"v\" of container \"c\"");
    }
}
