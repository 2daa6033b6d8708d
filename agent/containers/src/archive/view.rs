//! Owns where the files of a container are: of a running one as its processes see them, of another in
//! its snapshot and its volumes.

use std::path::{Path, PathBuf};

use bollard::models::MountPoint;
use containerd_client::types::Mount;

use super::place::clean;
use crate::engine::{Container, Engine, Rootfs};
use crate::error::{Error, Result};

/// Where a path of a container leads.
#[derive(Debug)]
pub struct View {
    /// The file system that it is in.
    pub root: Rootfs,
    /// The path there.
    pub path: String,
    /// Why nothing may be written there.
    pub read_only: Option<&'static str>,
}

/// What the file system of a container is made of.
#[derive(Debug, PartialEq, Eq)]
pub struct Layers {
    /// What it wrote.
    pub upper: PathBuf,
    /// The layers of its image, the topmost first.
    pub lowers: Vec<PathBuf>,
}

impl Engine {
    /// Where `path` of `container` is to be looked for.
    pub async fn view(&self, container: &Container, path: &str) -> Result<View> {
        let record = container.record();
        let alive = container.state().status.alive();
        let mount = mount_of(&record.mounts, path);
        let read_only = match mount {
            Some((mount, _)) if mount.rw == Some(false) => Some("mounted volume is marked read-only"),
            None if record.host.readonly_rootfs.unwrap_or(false) => Some("container rootfs is marked read-only"),
            _ => None,
        };
        let Some((mount, rest)) = mount.filter(|_| !alive) else {
            return Ok(View { root: self.rootfs(container).await?, path: path.to_owned(), read_only });
        };
        let source = Path::new(mount.source.as_deref().unwrap_or_default());
        let (folder, path) = match (source.is_dir(), source.parent(), source.file_name()) {
            (false, Some(parent), Some(name)) => (parent, format!("/{}{rest}", name.to_string_lossy())),
            _ => (source, rest),
        };
        Ok(View { root: Rootfs::of_folder(folder)?, path, read_only })
    }

    /// The files of `container` without those that are mounted into it.
    pub async fn own_files(&self, container: &Container) -> Result<Rootfs> {
        let state = container.state();
        if !state.status.alive() {
            return self.rootfs(container).await;
        }
        let looking = tokio::task::spawn_blocking(move || Rootfs::without_mounts(state.pid));
        looking.await.map_err(|error| Error::failed("look into the container", error))?
    }

    /// What the file system of `container` is made of.
    pub async fn layers(&self, container: &Container) -> Result<Layers> {
        let mounts = self.tasks().mounts(container.id()).await?;
        layers(&mounts).ok_or_else(|| Error::Failed("the snapshot of the container is no overlay".to_owned()))
    }
}

/// The innermost mount that `path` is in by the letter, and the rest of the path.
fn mount_of<'a>(mounts: &'a [MountPoint], path: &str) -> Option<(&'a MountPoint, String)> {
    let clean = clean(path);
    // What says that it names a folder goes on saying so.
    let end = if path.ends_with("/.") {
        "/."
    } else if path.ends_with('/') {
        "/"
    } else {
        ""
    };
    let rest = |mount: &'a MountPoint| {
        let destination = mount.destination.as_deref()?.trim_end_matches('/');
        let rest = clean.strip_prefix(destination)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| (mount, format!("{rest}{end}")))
    };
    let bound = mounts.iter().filter(|mount| mount.source.as_deref().is_some_and(|source| source.starts_with('/')));
    bound.filter_map(rest).min_by_key(|(_, rest)| rest.len())
}

fn layers(mounts: &[Mount]) -> Option<Layers> {
    let [mount] = mounts else { return None };
    let option = |name: &str| {
        mount.options.iter().find_map(|option| option.split_once('=').filter(|(key, _)| *key == name)).map(|(_, v)| v)
    };
    Some(Layers {
        upper: option("upperdir")?.into(),
        lowers: option("lowerdir")?.split(':').map(PathBuf::from).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(destination: &str, source: &str) -> MountPoint {
        let text = |text: &str| Some(text.to_owned());
        MountPoint { destination: text(destination), source: text(source), ..MountPoint::default() }
    }

    #[test]
    fn a_path_is_in_the_innermost_mount() {
        let mounts = [mount("/data", "/vol/a"), mount("/data/deep", "/vol/b"), mount("/tmpfs", "")];
        let found =
            |path: &str| mount_of(&mounts, path).map(|(mount, rest)| (mount.source.clone().unwrap_or_default(), rest));
        assert_eq!(found("/data/x/y"), Some(("/vol/a".to_owned(), "/x/y".to_owned())));
        assert_eq!(found("/data/deep/"), Some(("/vol/b".to_owned(), "/".to_owned())));
        assert_eq!(found("data/deep/."), Some(("/vol/b".to_owned(), "/.".to_owned())));
        assert_eq!(found("/data/../etc"), None);
        assert_eq!(found("/database"), None);
        assert_eq!(found("/tmpfs/x"), None);
    }

    #[test]
    fn an_overlay_has_layers() {
        let options = ["index=off", "workdir=/s/2/work", "upperdir=/s/2/fs", "lowerdir=/s/1/fs:/s/0/fs"];
        let overlay =
            Mount { r#type: "overlay".to_owned(), options: options.map(str::to_owned).to_vec(), ..Mount::default() };
        let found = layers(&[overlay]).unwrap();
        assert_eq!((found.upper, found.lowers), ("/s/2/fs".into(), vec!["/s/1/fs".into(), "/s/0/fs".into()]));
        assert_eq!(layers(&[Mount::default()]), None);
    }
}
