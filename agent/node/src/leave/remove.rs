//! Owns removing from a machine what it was a node with: containers, mounts, files, credentials.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use rustix::mount::UnmountFlags;

use crate::cgroups::Cgroups;
use crate::config::Settings;
use crate::cri::{Cri, CriError, labels, v1};

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// containerd did not remove pods.
    #[error("cannot remove the containers of pods; is containerd up?")]
    Containers(#[source] CriError),
    /// A mount cannot be undone.
    #[error("cannot unmount {}", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Mounts cannot be told.
    #[error("cannot tell what is mounted")]
    Mounts(#[source] procfs::ProcError),
    /// A file stays.
    #[error("cannot remove {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What became of the Node.
#[derive(Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It is gone, or was before.
    Deleted,
    /// It stays: a node may not delete itself.
    Stays,
    /// Nobody could be asked.
    Unknown(String),
}

/// Deletes the Node, if the rights of `client` suffice.
pub async fn delete_node(client: &kube::Client, name: &str) -> Farewell {
    let nodes: Api<Node> = Api::all(client.clone());
    match nodes.delete(name, &DeleteParams::default()).await {
        Ok(_) => Farewell::Deleted,
        Err(kube::Error::Api(status)) if status.code == 404 => Farewell::Deleted,
        Err(kube::Error::Api(status)) if status.code == 403 => Farewell::Stays,
        Err(kube::Error::Api(status)) => Farewell::Unknown(status.message),
        Err(error) => Farewell::Unknown(error.to_string()),
    }
}

/// Stops and removes all pods that containerd has by its CRI; gives how many.
pub async fn containers(settings: &Settings) -> Result<usize, RemoveError> {
    let cri = Cri::new(&settings.containerd);
    let cgroups = Cgroups::new(settings);
    let sandboxes = cri.sandboxes(None).await.map_err(RemoveError::Containers)?;
    for sandbox in &sandboxes {
        let pod_sandbox_id = sandbox.id.clone();
        let stopped = cri.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() }).await;
        missing_is_fine(stopped.map(drop))?;
        missing_is_fine(cri.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id }).await.map(drop))?;
        if let Some(uid) = sandbox.labels.get(labels::POD_UID)
            && let Err(error) = cgroups.remove(uid).await
        {
            tracing::warn!("a cgroup stays: {error}");
        }
    }
    Ok(sandboxes.len())
}

fn missing_is_fine(answer: Result<(), CriError>) -> Result<(), RemoveError> {
    match answer {
        Err(error) if !error.is_not_found() => Err(RemoveError::Containers(error)),
        _ => Ok(()),
    }
}

/// Removes the node's files: volumes of pods after what is mounted in them, logs, credentials.
pub fn files(settings: &Settings) -> Result<(), RemoveError> {
    for path in mounts_below(&settings.root)? {
        rustix::mount::unmount(&path, UnmountFlags::DETACH)
            .map_err(|error| RemoveError::Mount { path: path.clone(), source: error.into() })?;
    }
    // Nothing is removed through a mount that came in between.
    if let Some(path) = mounts_below(&settings.root)?.into_iter().next() {
        return Err(RemoveError::Mount { path, source: io::Error::other("it is mounted again") });
    }
    remove_all(&settings.root)?;
    remove_all(&settings.run)?;
    let logs = std::fs::read_dir(&settings.logs).into_iter().flatten().flatten();
    logs.map(|entry| entry.path()).try_for_each(|path| remove_all(&path))
}

/// Removes a folder, or the file that is there.
pub fn remove_all(path: &Path) -> Result<(), RemoveError> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RemoveError::File { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// What is mounted below a folder, the deepest first.
fn mounts_below(root: &Path) -> Result<Vec<PathBuf>, RemoveError> {
    let mounts = procfs::process::Process::myself().and_then(|this| this.mountinfo()).map_err(RemoveError::Mounts)?;
    Ok(below(root, mounts.into_iter().map(|mount| mount.mount_point)))
}

fn below(root: &Path, mounts: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut mounts: Vec<PathBuf> = mounts.filter(|mount| mount.starts_with(root) && mount != root).collect();
    mounts.sort_by_key(|mount| std::cmp::Reverse(mount.components().count()));
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_undone_from_the_inside_out() {
        let mounts = ["/r", "/r/pods/a", "/r/pods/a/b", "/", "/rest"].map(PathBuf::from);
        assert_eq!(below(Path::new("/r"), mounts.into_iter()), ["/r/pods/a/b", "/r/pods/a"].map(PathBuf::from));
    }

    #[test]
    fn what_is_not_there_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::os::unix::fs::symlink("/nowhere", inner.join("link")).unwrap();
        remove_all(&folder.path().join("a")).unwrap();
        assert!(!folder.path().join("a").exists());
        remove_all(&folder.path().join("a")).unwrap();
    }
}
