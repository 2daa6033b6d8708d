//! Owns where the things of a pod lie below the node's root. The folders are the kubelet's: people and
//! tools look for them there.

use std::path::{Path, PathBuf};

/// What a volume is made by, as its folder is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plugin {
    /// emptyDir.
    EmptyDir,
    /// configMap.
    ConfigMap,
    /// secret.
    Secret,
    /// downwardAPI.
    DownwardApi,
    /// projected.
    Projected,
    /// A PersistentVolume that is a folder of this host.
    Local,
    /// image.
    Image,
}

impl Plugin {
    fn folder(self) -> &'static str {
        match self {
            Self::EmptyDir => "kubernetes.io~empty-dir",
            Self::ConfigMap => "kubernetes.io~configmap",
            Self::Secret => "kubernetes.io~secret",
            Self::DownwardApi => "kubernetes.io~downward-api",
            Self::Projected => "kubernetes.io~projected",
            Self::Local => "kubernetes.io~local-volume",
            Self::Image => "kubernetes.io~image",
        }
    }
}

/// The folder of all pods.
pub fn pods(root: &Path) -> PathBuf {
    root.join("pods")
}

/// The folder of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDir(PathBuf);

impl PodDir {
    /// The pod with this UID; nothing where that cannot be a folder's name.
    pub fn new(root: &Path, uid: &str) -> Option<Self> {
        is_name(uid).then(|| Self(pods(root).join(uid)))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder of all volumes that `plugin` makes.
    pub fn plugin(&self, plugin: Plugin) -> PathBuf {
        self.0.join("volumes").join(plugin.folder())
    }

    /// A volume.
    pub fn volume(&self, plugin: Plugin, name: &str) -> PathBuf {
        self.plugin(plugin).join(name)
    }

    /// Where a part of a volume is mounted for one of the `volumeMounts` of a container.
    pub fn subpath(&self, volume: &str, container: &str, index: usize) -> PathBuf {
        self.0.join("volume-subpaths").join(volume).join(container).join(index.to_string())
    }

    /// The hosts file that all containers of the pod share.
    pub fn hosts(&self) -> PathBuf {
        self.0.join("etc-hosts")
    }

    /// The termination message of a container after so many restarts.
    pub fn termination(&self, container: &str, restart: u32) -> PathBuf {
        self.0.join("containers").join(container).join(restart.to_string())
    }
}

/// Whether this can be one name in a folder.
pub fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_cannot_leave_the_folder_of_pods() {
        let root = Path::new("/var/lib/x");
        for uid in ["", ".", "..", "a/b", "/etc", "../etc"] {
            assert_eq!(PodDir::new(root, uid), None, "{uid}");
        }
        let dir = PodDir::new(root, "1-2").unwrap();
        assert_eq!(dir.volume(Plugin::Secret, "s"), Path::new("/var/lib/x/pods/1-2/volumes/kubernetes.io~secret/s"));
        assert_eq!(dir.subpath("v", "c", 3), Path::new("/var/lib/x/pods/1-2/volume-subpaths/v/c/3"));
    }
}
