//! Owns volumes: folders with a name, or with one made up for a single container.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bollard::models::{EventMessageTypeEnum, MountPoint, Volume, VolumeCreateRequest, VolumeScopeEnum};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::Engine;
use super::moment::Moment;
use super::points::{self, Asked, Source};
use super::record::Record;
use super::rootfs::Rootfs;
use crate::error::{Error, Result};

/// What says that a volume was made up for a container.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What is kept of a volume beside its content.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    created: Moment,
    #[serde(default)]
    labels: HashMap<String, String>,
    #[serde(default)]
    options: HashMap<String, String>,
}

/// The volumes of this host.
#[derive(Debug)]
pub struct Volumes {
    folder: PathBuf,
    turn: Mutex<()>,
}

impl Volumes {
    /// The volumes in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, turn: Mutex::default() }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.join(name).join("_data")
    }

    /// The volume called `name`, made if it is not there; says whether it was made.
    pub fn obtain(
        &self,
        name: &str,
        labels: HashMap<String, String>,
        options: HashMap<String, String>,
    ) -> Result<(Volume, bool)> {
        points::volume_name(name)?;
        if !options.is_empty() {
            return Err(Error::Invalid(
                "a volume takes no driver options: mount it on the host and bind it".to_owned(),
            ));
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(found) = self.find(name) {
            return Ok((found, false));
        }
        let failed = |error: std::io::Error| Error::failed(format_args!("make the volume {name}"), error);
        std::fs::create_dir_all(self.data(name)).map_err(failed)?;
        let kept = Kept { created: Moment::now(), labels, options };
        let bytes = serde_json::to_vec(&kept).map_err(|error| failed(error.into()))?;
        keelson_common::fs::atomic_write(&self.folder.join(name).join("volume.json"), &bytes, 0o644).map_err(failed)?;
        Ok((self.shown(name, kept), true))
    }

    /// The volume called `name`.
    pub fn find(&self, name: &str) -> Result<Volume> {
        let missing = || Error::NotFound(format!("get {name}: no such volume"));
        points::volume_name(name).map_err(|_| missing())?;
        let bytes = std::fs::read(self.folder.join(name).join("volume.json")).map_err(|_| missing())?;
        let kept = serde_json::from_slice(&bytes)
            .map_err(|error| Error::failed(format_args!("read the volume {name}"), error))?;
        Ok(self.shown(name, kept))
    }

    fn shown(&self, name: &str, kept: Kept) -> Volume {
        Volume {
            name: name.to_owned(),
            driver: "local".to_owned(),
            mountpoint: self.data(name).display().to_string(),
            created_at: Some(kept.created.to_string()),
            labels: kept.labels,
            scope: Some(VolumeScopeEnum::LOCAL),
            options: kept.options,
            ..Volume::default()
        }
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Volume> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut all: Vec<Volume> = entries.filter_map(|entry| self.find(entry.file_name().to_str()?).ok()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Removes a volume that nothing uses. Its description goes first: what is left of it after an
    /// interruption is no volume.
    pub fn remove(&self, name: &str) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.find(name)?;
        let folder = self.folder.join(name);
        std::fs::remove_file(folder.join("volume.json"))
            .and_then(|()| std::fs::remove_dir_all(&folder))
            .map_err(|error| Error::failed(format_args!("remove the volume {name}"), error))
    }

    /// Bytes that a volume takes.
    pub fn size(&self, name: &str) -> i64 {
        fn below(folder: &Path) -> u64 {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let size = |entry: std::fs::DirEntry| match entry.metadata() {
                Ok(meta) if meta.is_dir() => below(&entry.path()),
                Ok(meta) => meta.len(),
                Err(_) => 0,
            };
            entries.map(size).sum()
        }
        i64::try_from(below(&self.data(name))).unwrap_or(i64::MAX)
    }
}

/// Was the volume made up for one container?
pub fn anonymous(volume: &Volume) -> bool {
    volume.labels.contains_key(ANONYMOUS)
}

impl Engine {
    /// Finds or makes what a new container has mounted from outside.
    pub(super) async fn mount_points(&self, record: &mut Record) -> Result<()> {
        let asked = points::asked(&record.host, record.config.volumes.as_deref().unwrap_or_default())?;
        let mut found = Vec::new();
        let mut fill = Vec::new();
        for one in &asked {
            let point = match &one.source {
                Source::Bind { path, create } => self.bind_point(one, path, *create)?,
                Source::Volume(name) => {
                    let (point, new) = self.volume_point(one, name.as_deref())?;
                    if name.is_none() {
                        record.anonymous.extend(point.name.clone());
                    }
                    if new && one.copy {
                        fill.push(point.clone());
                    }
                    point
                }
            };
            found.push(point);
        }
        for text in record.host.volumes_from.iter().flatten() {
            let (other, mode) = text.split_once(':').unwrap_or((text, ""));
            let other = self.find(other)?.record();
            points::from_other(&mut found, &asked, &other.mounts, mode)?;
        }
        if !fill.is_empty() {
            self.fill(&record.id, &fill).await?;
        }
        record.mounts = found;
        Ok(())
    }

    fn bind_point(&self, asked: &Asked, path: &str, create: bool) -> Result<MountPoint> {
        if create && !Path::new(path).exists() {
            std::fs::create_dir_all(path)
                .map_err(|error| Error::failed(format_args!("make the mount's source path '{path}'"), error))?;
        }
        if !Path::new(path).exists() {
            return Err(Error::Invalid(format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {path}"
            )));
        }
        Ok(points::point(asked, path.to_owned(), None))
    }

    fn volume_point(&self, asked: &Asked, name: Option<&str>) -> Result<(MountPoint, bool)> {
        let mut labels = asked.labels.clone();
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                labels.insert(ANONYMOUS.to_owned(), String::new());
                super::create::random_id()?
            }
        };
        let (volume, new) = self.volumes.obtain(&name, labels, HashMap::new())?;
        if new {
            self.tell_volume(&name, "create");
        }
        Ok((points::point(asked, volume.mountpoint, Some(name)), new))
    }

    /// Fills new volumes with what the image has where they are mounted, owners and modes too.
    async fn fill(&self, id: &str, fresh: &[MountPoint]) -> Result<()> {
        let mounts = self.tasks.mounts(id).await?;
        let root = Rootfs::mount(&mounts)?;
        for point in fresh {
            let (Some(target), Some(source)) = (&point.destination, &point.source) else { continue };
            // There may be nothing, or no folder.
            let Ok(folder) = root.open(target, OFlags::PATH | OFlags::DIRECTORY) else { continue };
            copy(&folder, source).await?;
        }
        Ok(())
    }

    /// Removes the volumes that were made for a container alone, and that no other has since.
    pub(super) fn remove_anonymous(&self, record: &Record) {
        for name in &record.anonymous {
            let used = self.users_of_volume(name).iter().any(|id| *id != record.id);
            if !used && let Err(error) = self.volumes.remove(name) {
                tracing::warn!("{error}");
            }
        }
    }

    /// Makes a volume, called `name` or something that no one else has.
    pub fn create_volume(&self, asked: VolumeCreateRequest) -> Result<Volume> {
        if let Some(driver) = asked.driver.filter(|driver| !matches!(driver.as_str(), "" | "local")) {
            return Err(Error::NotFound(format!(
                "error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            )));
        }
        let mut labels = asked.labels.unwrap_or_default();
        let name = match asked.name.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => {
                labels.insert(ANONYMOUS.to_owned(), String::new());
                super::create::random_id()?
            }
        };
        let (volume, new) = self.volumes.obtain(&name, labels, asked.driver_opts.unwrap_or_default())?;
        if new {
            self.tell_volume(&name, "create");
        }
        Ok(volume)
    }

    /// Removes a volume that no container has.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let users = self.users_of_volume(name);
        if !users.is_empty() {
            return Err(Error::Conflict(format!("remove {name}: volume is in use - [{}]", users.join(", "))));
        }
        self.volumes.remove(name)?;
        self.tell_volume(name, "destroy");
        Ok(())
    }

    fn tell_volume(&self, name: &str, action: &str) {
        let attributes = HashMap::from([("driver".to_owned(), "local".to_owned())]);
        self.events.publish(EventMessageTypeEnum::VOLUME, action, name, attributes);
    }

    /// The ids of the containers that have a volume.
    pub fn users_of_volume(&self, name: &str) -> Vec<String> {
        let has = |container: &std::sync::Arc<super::Container>| {
            container.record().mounts.iter().any(|point| point.name.as_deref() == Some(name))
        };
        self.all().iter().filter(|container| has(container)).map(|container| container.id().to_owned()).collect()
    }

    /// The volumes.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }
}

/// Copies what is in `folder` to the folder `target`, as it is.
async fn copy(folder: &impl std::os::fd::AsRawFd, target: &str) -> Result<()> {
    let source = format!("/proc/{}/fd/{}/.", std::process::id(), folder.as_raw_fd());
    let output = tokio::process::Command::new("cp")
        .args(["-a", "--", &source, target])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .map_err(|error| Error::failed("run cp", error))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("cp failed").to_owned();
    Err(Error::failed("fill a new volume from the image", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_made_once_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().to_owned());
        let labels = HashMap::from([("a".to_owned(), "b".to_owned())]);
        let (volume, new) = volumes.obtain("data", labels.clone(), HashMap::new()).unwrap();
        assert!(new && Path::new(&volume.mountpoint).is_dir());
        let (again, new) = volumes.obtain("data", HashMap::new(), HashMap::new()).unwrap();
        assert!(!new);
        assert_eq!(again.labels, labels);
        std::fs::write(Path::new(&volume.mountpoint).join("x"), "12345").unwrap();
        assert_eq!(volumes.size("data"), 5);
        assert_eq!(volumes.all().len(), 1);
        volumes.remove("data").unwrap();
        assert!(matches!(volumes.remove("data"), Err(Error::NotFound(_))));
        assert!(volumes.all().is_empty());
    }

    #[test]
    fn names_lead_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(folder.path().to_owned());
        assert!(volumes.obtain("../x", HashMap::new(), HashMap::new()).is_err());
        assert!(volumes.find("..").is_err());
    }

    #[tokio::test]
    async fn what_is_copied_is_as_it_was() {
        use std::os::unix::fs::PermissionsExt;
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(from.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", from.path().join("link")).unwrap();
        std::fs::set_permissions(from.path(), std::fs::Permissions::from_mode(0o751)).unwrap();
        let folder = std::fs::File::open(from.path()).unwrap();
        copy(&folder, to.path().to_str().unwrap()).await.unwrap();
        assert_eq!(std::fs::read_link(to.path().join("link")).unwrap(), Path::new("file"));
        assert_eq!(to.path().metadata().unwrap().permissions().mode() & 0o777, 0o751);
    }
}
