//! Owns removing from a machine what it was a node with: containers, mounts, files, credentials.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;

use crate::cgroups::Cgroups;
use crate::config::Settings;
use crate::cri::{Cri, CriError, v1};
use crate::{network, volumes};

/// Why something is left.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// containerd did not remove pods.
    #[error("cannot remove the containers of pods; is containerd up?")]
    Containers(#[source] CriError),
    /// A mount cannot be undone, so that nothing is removed through it.
    #[error("cannot unmount the volumes of pods")]
    Mount(#[source] volumes::Problem),
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
    let sandboxes = cri.sandboxes(None).await.map_err(RemoveError::Containers)?;
    for sandbox in &sandboxes {
        let pod_sandbox_id = sandbox.id.clone();
        let stopped = cri.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() }).await;
        missing_is_fine(stopped.map(drop))?;
        missing_is_fine(cri.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id }).await.map(drop))?;
    }
    Ok(sandboxes.len())
}

/// Removes what the kernel was told for pods that are gone: their cgroups, and the network of the node.
/// What cannot be removed is said in the log; a boot removes it.
pub async fn kernel(settings: &Settings) {
    if let Err(error) = Cgroups::new(settings).remove_tree().await {
        tracing::warn!("{:#}", anyhow::Error::from(error));
    }
    network::remove(settings).await;
}

fn missing_is_fine(answer: Result<(), CriError>) -> Result<(), RemoveError> {
    match answer {
        Err(error) if !error.is_not_found() => Err(RemoveError::Containers(error)),
        _ => Ok(()),
    }
}

/// Removes the node's files: volumes of pods after what is mounted in them, logs, credentials.
pub fn files(settings: &Settings) -> Result<(), RemoveError> {
    volumes::unmount_all(&settings.root).map_err(RemoveError::Mount)?;
    remove_all(&settings.root)?;
    remove_all(&settings.run)?;
    let logs = std::fs::read_dir(&settings.logs).into_iter().flatten().flatten();
    let logs = logs.filter(|entry| entry.file_name().to_str().is_some_and(is_of_pod));
    logs.map(|entry| entry.path()).try_for_each(|path| remove_all(&path))
}

/// Whether a folder of logs is a pod's: `NAMESPACE_POD_UID`.
fn is_of_pod(name: &str) -> bool {
    name.split('_').filter(|part| !part.is_empty()).count() == 3
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_pods_are_told_from_others() {
        assert!(is_of_pod("kube-system_dns-0_0b1c"));
        assert!(!is_of_pod("syslog") && !is_of_pod("__") && !is_of_pod("apt"));
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
