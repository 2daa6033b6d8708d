//! Owns volumes of pods: made below the node's root before containers, kept up to date, taken away.
//!
//! ```text
//! plan (reads objects through the API) ──▶ Work (what to do on the disk) ──▶ one hop to a thread
//! ```
//!
//! Nothing is remembered that cannot be found again: mounts and files below the root are the truth, and
//! what is kept in memory only saves looking at them. So a restart of the node's agent leaves volumes
//! as they are, and pods that went while it was away are found by [`Volumes::known`].

mod atomic;
mod claims;
mod container;
mod empty_dir;
mod error;
mod files;
mod host_path;
mod hosts;
mod image;
mod layout;
mod mountpoint;
mod mounts;
mod nested;
mod ownership;
mod plan;
mod subpath;
mod termination;
mod tokens;
mod tree;
mod trust;
mod work;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod, Volume};

use crate::context::Context;

pub use error::{Problem, VolumeError};
pub use image::wanted as images_wanted;
pub use termination::limit as limit_messages;

use error::{At, refused};
use layout::PodDir;
use plan::Made;

/// Unmounts everything below the folder of a node, but not the folder itself.
pub fn unmount_all(root: &Path) -> Result<(), Problem> {
    let inside = match fs::read_dir(root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        inside => inside.at("read", root)?,
    };
    for entry in inside {
        let entry = entry.at("read", root)?;
        // A link may lead to mounts that are somebody else's.
        if entry.file_type().at("look at", &entry.path())?.is_dir() {
            mountpoint::unmount_below(&entry.path())?;
        }
    }
    Ok(())
}

/// The volumes of all pods.
pub struct Volumes {
    context: Arc<Context>,
    tokens: tokens::Tokens,
    trust: trust::Trust,
    /// By pod and volume, what was made of it since this agent started.
    made: Mutex<HashMap<String, HashMap<String, Made>>>,
}

impl Volumes {
    /// None yet; what earlier runs left below the root is found by pod UID.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, tokens: tokens::Tokens::default(), trust: trust::Trust::default(), made: Mutex::default() }
    }

    /// Makes what is missing and brings up to date what changed. Called before containers are made,
    /// and again by the pod's worker every [`crate::config::Settings::volume_refresh`]; idempotent.
    /// `fresh`: read objects anew (a pod that has just begun), not from the cache.
    pub async fn prepare(&self, pod: &Pod, fresh: bool) -> Result<(), VolumeError> {
        let dir = self.dir(pod).map_err(|problem| failed_mount(vec![problem.told()]))?;
        let volumes = volumes(pod);
        let plans = join_all(volumes.iter().map(|volume| self.plan(pod, &dir, volume, fresh))).await;
        let (mut works, mut problems) = (Vec::new(), Vec::new());
        for (volume, plan) in volumes.iter().zip(plans) {
            match plan {
                Ok(Some((work, made))) => works.push((volume.name.clone(), work, made)),
                Ok(None) => {}
                Err(problem) => problems.push(set_up_failed(&volume.name, &problem)),
            }
        }
        if !works.is_empty() {
            let done = blocking(move || {
                let run = |(name, work, made): (String, work::Work, Made)| (name, work.run().map(|()| made));
                works.into_iter().map(run).collect::<Vec<_>>()
            });
            let done = done.await.map_err(|problem| failed_mount(vec![problem.told()]))?;
            let mut all = self.made();
            let made = all.entry(uid(pod).to_owned()).or_default();
            for (name, done) in done {
                match done {
                    Ok(new) => drop(made.insert(name, new)),
                    Err(problem) => problems.push(set_up_failed(&name, &problem)),
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(failed_mount(problems)) }
    }

    /// Whether a pod has volumes that can change while it runs; for others [`Self::prepare`] once is enough.
    pub fn needs_refresh(pod: &Pod) -> bool {
        volumes(pod).iter().any(|volume| {
            let files = volume.config_map.is_some() || volume.secret.is_some();
            files || volume.downward_api.is_some() || volume.projected.is_some()
        })
    }

    /// The file on the host that a container writes its termination message to.
    pub fn termination_log(&self, uid: &str, container: &str, restart: u32) -> PathBuf {
        layout::pods(&self.context.settings.root).join(uid).join("containers").join(container).join(restart.to_string())
    }

    /// What a container that ended leaves to be told, for the message of its terminated state: what it wrote
    /// to its file, or, by its policy and when it `failed`, the end of its `log`. Empty when there is nothing.
    pub async fn termination_message(
        &self,
        uid: &str,
        container: &Container,
        restart: u32,
        failed: bool,
        log: &Path,
    ) -> String {
        let path = self.termination_log(uid, &container.name, restart);
        let (container, log) = (container.clone(), log.to_owned());
        blocking(move || termination::message(&container, &path, failed, &log)).await.unwrap_or_default()
    }

    /// Unmounts and removes everything of a pod; only after its last container ended.
    pub async fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        let removed = self.remove_pod(uid).await;
        removed.map_err(|problem| VolumeError {
            reason: "FailedKillPod",
            message: format!("cannot remove the volumes of pod {uid}: {}", problem.told()),
        })?;
        self.tokens.forget(uid);
        self.made().remove(uid);
        Ok(())
    }

    async fn remove_pod(&self, uid: &str) -> Result<(), Problem> {
        let Some(dir) = PodDir::new(&self.context.settings.root, uid) else {
            return refused(format!("{uid:?} cannot be a pod's UID"));
        };
        let images = {
            let dir = dir.clone();
            blocking(move || unmount_pod(&dir)).await??
        };
        for volume in images {
            image::release(&self.containerd(), uid, &volume).await?;
        }
        blocking(move || tree::remove(dir.path()).at("remove", dir.path())).await?
    }

    /// UIDs of pods that have something below the root.
    pub fn known(&self) -> Vec<String> {
        let pods = fs::read_dir(layout::pods(&self.context.settings.root)).into_iter().flatten().flatten();
        let pods = pods.filter(|pod| pod.file_type().is_ok_and(|kind| kind.is_dir()));
        pods.filter_map(|pod| pod.file_name().into_string().ok()).collect()
    }

    fn dir(&self, pod: &Pod) -> Result<PodDir, Problem> {
        match PodDir::new(&self.context.settings.root, uid(pod)) {
            Some(dir) => Ok(dir),
            None => refused(format!("{:?} cannot be a pod's UID", uid(pod))),
        }
    }

    fn containerd(&self) -> image::Containerd<'_> {
        image::Containerd { cri: &self.context.cri, socket: &self.context.settings.containerd }
    }

    fn made(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Made>>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn volumes(pod: &Pod) -> &[Volume] {
    pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
}

fn set_up_failed(volume: &str, problem: &Problem) -> String {
    format!("MountVolume.SetUp failed for volume {volume:?} : {}", problem.told())
}

fn failed_mount(problems: Vec<String>) -> VolumeError {
    VolumeError { reason: "FailedMount", message: problems.join("; ") }
}

/// Unmounts all of a pod; names the volumes that show images.
fn unmount_pod(dir: &PodDir) -> Result<Vec<String>, Problem> {
    mountpoint::unmount_below(dir.path())?;
    let images = fs::read_dir(dir.plugin(layout::Plugin::Image)).into_iter().flatten().flatten();
    Ok(images.filter_map(|image| image.file_name().into_string().ok()).collect())
}

/// Makes the folder of a pod, closed to others.
fn make_private(dir: &Path) -> Result<(), Problem> {
    fs::DirBuilder::new().recursive(true).mode(0o750).create(dir).at("make", dir)
}

/// Does what may wait for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::Refused(format!("the work on volumes was given up: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_volumes_of_files_can_change() {
        let with = |volume: &str| -> Pod {
            let volume = serde_json::from_str::<serde_json::Value>(volume).unwrap();
            let spec = serde_json::json!({"containers": [], "volumes": [volume]});
            serde_json::from_value(serde_json::json!({"metadata": {}, "spec": spec})).unwrap()
        };
        for volume in [r#""secret":{}"#, r#""configMap":{}"#, r#""downwardAPI":{}"#, r#""projected":{}"#] {
            assert!(Volumes::needs_refresh(&with(&format!(r#"{{"name":"v",{volume}}}"#))), "{volume}");
        }
        for volume in [r#""emptyDir":{}"#, r#""hostPath":{"path":"/"}"#] {
            assert!(!Volumes::needs_refresh(&with(&format!(r#"{{"name":"v",{volume}}}"#))), "{volume}");
        }
    }

    #[test]
    fn a_pod_is_unmounted_and_removed_with_what_is_below() {
        let root = tempfile::tempdir().unwrap();
        let dir = PodDir::new(root.path(), "u").unwrap();
        make_private(dir.path()).unwrap();
        let memory = dir.volume(layout::Plugin::Secret, "s");
        empty_dir::make(&memory, &empty_dir::Medium::Memory(None), None).unwrap();
        let outside = root.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        let shown = dir.volume(layout::Plugin::Image, "image");
        fs::create_dir_all(&shown).unwrap();
        mountpoint::bind(&outside, &shown, false).unwrap();
        subpath::mount(&memory, "part", &dir.subpath("s", "c", 0)).unwrap();
        assert_eq!(unmount_pod(&dir).unwrap(), ["image"]);
        tree::remove(dir.path()).unwrap();
        assert!(!dir.path().exists());
        assert!(outside.join("file").exists());
    }
}
