//! Owns what is done on the disk for one volume, after everything that it needs was read.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::atomic::{self, Payload};
use super::empty_dir::{self, Medium};
use super::error::{At, Problem, refused};
use super::host_path;
use super::layout;
use super::mountpoint::{self, is_mount_point};
use super::ownership;

/// What is to be done for one volume; doing it again changes nothing.
#[derive(Debug)]
pub enum Work {
    /// An emptyDir is to be there.
    Empty {
        /// Where.
        dir: PathBuf,
        /// On what.
        medium: Medium,
        /// `fsGroup`.
        group: Option<u32>,
    },
    /// Files are to be there.
    Files {
        /// Where.
        dir: PathBuf,
        /// On what.
        medium: Medium,
        /// Folders at which containers mount other volumes.
        nested: Vec<String>,
        /// The files.
        payload: Payload,
        /// `fsGroup`.
        group: Option<u32>,
    },
    /// A path of the host is to be of a type.
    Host {
        /// The path.
        path: String,
        /// As hostPath has it.
        kind: String,
    },
    /// A local PersistentVolume is to be mounted for a pod.
    Local(Local),
}

/// A local PersistentVolume.
#[derive(Debug)]
pub struct Local {
    /// The folder of the host.
    pub source: PathBuf,
    /// Where the pod has it.
    pub dir: PathBuf,
    /// Whether it is read-only.
    pub read_only: bool,
    /// `fsGroup`.
    pub group: Option<u32>,
    /// `fsGroupChangePolicy` is `OnRootMismatch`.
    pub on_root_mismatch: bool,
    /// The node's root, below which other pods may have it.
    pub root: PathBuf,
}

impl Work {
    /// Does it.
    pub fn run(self) -> Result<(), Problem> {
        match self {
            Self::Empty { dir, medium, group } => empty_dir::make(&dir, &medium, group),
            Self::Files { dir, medium, nested, payload, group } => {
                empty_dir::make(&dir, &medium, group)?;
                for point in nested {
                    let point = dir.join(point);
                    fs::DirBuilder::new().recursive(true).mode(0o755).create(&point).at("make", &point)?;
                }
                let own = || group.map_or(Ok(()), |group| ownership::apply(&dir, group, true));
                atomic::write(&dir, &payload, own).map(drop)
            }
            Self::Host { path, kind } => host_path::check(&path, &kind),
            Self::Local(local) => local.mount(),
        }
    }
}

impl Local {
    fn mount(self) -> Result<(), Problem> {
        let Self { source, dir, read_only, group, on_root_mismatch, root } = &self;
        if source.components().any(|part| part == std::path::Component::ParentDir) {
            return refused(format!("invalid path: {} must not contain '..'", source.display()));
        }
        if is_mount_point(dir).at("look at", dir)? {
            return Ok(());
        }
        if !fs::metadata(source).at("look at", source)?.is_dir() {
            return refused(format!("{} is not a directory: only directories are supported", source.display()));
        }
        let shared = in_use(root, dir);
        fs::DirBuilder::new().recursive(true).mode(0o750).create(dir).at("make", dir)?;
        // Ownership is seen to first: once it is mounted, nobody looks again.
        if let Some(group) = group.filter(|_| !read_only && !shared) {
            if !on_root_mismatch || ownership::is_needed(source, group, false) {
                ownership::apply(&source.canonicalize().at("resolve", source)?, group, false)?;
            }
        }
        mountpoint::bind(source, dir, true)?;
        if *read_only && let Err(problem) = mountpoint::make_read_only(dir) {
            mountpoint::unmount_below(dir)?;
            return Err(problem);
        }
        Ok(())
    }
}

/// Whether another pod has the same PersistentVolume; its name is the folder's.
fn in_use(root: &Path, dir: &Path) -> bool {
    let pods = layout::pods(root);
    let Ok(below) = dir.strip_prefix(&pods) else { return false };
    let below: PathBuf = below.components().skip(1).collect();
    let pods = fs::read_dir(pods).into_iter().flatten().flatten();
    pods.map(|pod| pod.path().join(&below)).any(|other| other != dir && is_mount_point(&other).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::volumes::atomic::File;
    use crate::volumes::layout::{Plugin, PodDir};

    struct Root(tempfile::TempDir);

    impl Root {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> &Path {
            self.0.path()
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            mountpoint::unmount_below(self.0.path()).ok();
        }
    }

    fn secret(dir: &Path, content: &str, group: Option<u32>) -> Work {
        let file = File { content: content.into(), mode: 0o600, owner: None };
        let payload = Payload::from([("token".to_owned(), file)]);
        let nested = vec!["in/ner".to_owned()];
        Work::Files { dir: dir.to_owned(), medium: Medium::Memory(Some(1 << 20)), nested, payload, group }
    }

    #[test]
    fn files_in_memory_have_their_group_and_mount_points() {
        let root = Root::new();
        let dir = root.path().join("pods/u/volumes/v");
        secret(&dir, "1", Some(50)).run().unwrap();
        let token = fs::metadata(dir.join("token")).unwrap();
        assert_eq!((token.mode() & 0o777, token.gid()), (0o640, 50));
        assert!(dir.join("in/ner").is_dir());
        secret(&dir, "2", Some(50)).run().unwrap();
        assert_eq!(fs::read_to_string(dir.join("token")).unwrap(), "2");
        assert!(is_mount_point(&dir).unwrap());
    }

    #[test]
    fn a_local_volume_is_given_to_its_group_but_not_taken_from_another_pod() {
        let root = Root::new();
        let source = root.path().join("disk");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "x").unwrap();
        let local = |uid: &str, group, read_only| {
            let dir = PodDir::new(root.path(), uid).unwrap().volume(Plugin::Local, "pv");
            let work = Local {
                source: source.clone(),
                dir: dir.clone(),
                read_only,
                group: Some(group),
                on_root_mismatch: true,
                root: root.path().to_owned(),
            };
            Work::Local(work).run().unwrap();
            dir
        };
        let first = local("1", 50, false);
        assert_eq!(fs::metadata(first.join("file")).unwrap().gid(), 50);
        let second = local("2", 60, true);
        assert_eq!(fs::metadata(second.join("file")).unwrap().gid(), 50);
        assert!(fs::write(second.join("new"), "x").is_err());
        fs::write(first.join("new"), "x").unwrap();
        mountpoint::unmount_below(root.path()).unwrap();
        local("3", 70, false);
        assert_eq!(fs::metadata(source.join("file")).unwrap().gid(), 70);
    }

    #[test]
    fn a_local_volume_must_be_a_folder() {
        let root = Root::new();
        let source = root.path().join("file");
        fs::write(&source, "x").unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o600)).unwrap();
        let dir = root.path().join("pods/1/v");
        let work = |source: &Path| {
            let (source, dir, root) = (source.to_owned(), dir.clone(), root.path().to_owned());
            Work::Local(Local { source, dir, read_only: false, group: None, on_root_mismatch: false, root })
        };
        assert!(work(&source).run().unwrap_err().to_string().contains("is not a directory"));
        assert!(work(&root.path().join("none")).run().is_err());
        assert!(work(Path::new("/tmp/../etc")).run().is_err());
        assert!(!dir.exists());
    }
}
