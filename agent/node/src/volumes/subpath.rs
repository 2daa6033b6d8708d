//! Owns parts of volumes that containers mount (`subPath`). A container can write to its volumes, so
//! a path within one is not trusted: it is resolved by the kernel below the volume's root, links that
//! lead out are refused, and what was opened is what is mounted.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::{At, Problem, refused};
use super::mountpoint::{self, is_mount_point};

/// How often a path is resolved anew when it changes meanwhile.
const TRIES: usize = 16;

/// The path by `subPath` is one that can be below a volume.
pub fn check(path: &str) -> Result<(), Problem> {
    if path.starts_with('/') {
        return refused(format!("error SubPath `{path}` must not be an absolute path"));
    }
    if path.split('/').any(|part| part == "..") {
        return refused(format!("unable to provision SubPath `{path}`: must not contain '..'"));
    }
    Ok(())
}

/// Mounts `path` of the volume at `target`; a folder that is missing is made, with the mode of the
/// volume's root. Where it is mounted already, nothing is done.
pub fn mount(volume: &Path, path: &str, target: &Path) -> Result<(), Problem> {
    check(path)?;
    let base = rustix::fs::open(volume, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at("open", volume)?;
    let part = open_or_make(&base, path).at("resolve a subPath in", volume)?;
    let stat = rustix::fs::fstat(&part).at("look at a subPath in", volume)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind.is_symlink() {
        return refused(format!("a subPath in {} is a link", volume.display()));
    }
    if is_mount_point(target).at("look at", target)? {
        let mounted = fs::symlink_metadata(target).at("look at", target)?;
        if (mounted.dev(), mounted.ino()) == (stat.st_dev, stat.st_ino) {
            return Ok(());
        }
        mountpoint::unmount_below(target)?;
    }
    prepare_target(target, kind.is_dir())?;
    let opened = format!("/proc/self/fd/{}", part.as_raw_fd());
    mountpoint::bind(Path::new(&opened), target, false)
}

/// Makes what is mounted upon: a folder for a folder, a file for anything else.
fn prepare_target(target: &Path, dir: bool) -> Result<(), Problem> {
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() == dir => return Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir(target).at("remove", target)?,
        Ok(_) => fs::remove_file(target).at("remove", target)?,
        Err(_) => {}
    }
    if let Some(parent) = target.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(parent).at("make", parent)?;
    }
    if dir {
        fs::DirBuilder::new().mode(0o750).create(target).at("make", target)
    } else {
        fs::File::create_new(target).at("make", target).map(drop)
    }
}

fn open_or_make(base: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    match open_below(base, path, OFlags::PATH) {
        Err(Errno::NOENT) => {
            make_folders(base, path)?;
            Ok(open_below(base, path, OFlags::PATH)?)
        }
        other => Ok(other?),
    }
}

/// Opens what `path` leads to, provided that it never leaves `base`.
fn open_below(base: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match rustix::fs::openat2(base, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Something was renamed while the kernel looked.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Makes the folders of `path` that are missing.
fn make_folders(base: &OwnedFd, path: &str) -> io::Result<()> {
    let root = rustix::fs::openat(base, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&root)?.st_mode);
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let mut parent = root;
    let mut made = false;
    for (index, part) in parts.iter().enumerate() {
        // Links are followed in what is there, not in what is made here.
        if !made {
            match open_below(base, &parts[..=index].join("/"), OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(existing) => {
                    parent = existing;
                    continue;
                }
                Err(Errno::NOENT) => made = true,
                Err(error) => return Err(error.into()),
            }
        }
        rustix::fs::mkdirat(&parent, *part, mode)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        parent = rustix::fs::openat(parent.as_fd(), *part, flags, Mode::empty())?;
        rustix::fs::fchmod(&parent, mode)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("volume")).unwrap();
            fs::create_dir_all(dir.path().join("outside")).unwrap();
            fs::write(dir.path().join("outside/secret"), "secret").unwrap();
            Self { dir }
        }

        fn volume(&self) -> PathBuf {
            self.dir.path().join("volume")
        }

        fn target(&self) -> PathBuf {
            self.dir.path().join("targets/volume/c/0")
        }

        fn mount(&self, path: &str) -> Result<(), Problem> {
            mount(&self.volume(), path, &self.target())
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            mountpoint::unmount_below(self.dir.path()).ok();
        }
    }

    #[test]
    fn missing_folders_are_made_with_the_mode_of_the_volume() {
        let world = World::new();
        fs::set_permissions(world.volume(), fs::Permissions::from_mode(0o2777)).unwrap();
        world.mount("a/b").unwrap();
        fs::write(world.target().join("file"), "x").unwrap();
        assert_eq!(fs::read_to_string(world.volume().join("a/b/file")).unwrap(), "x");
        for path in ["a", "a/b"] {
            assert_eq!(fs::metadata(world.volume().join(path)).unwrap().permissions().mode() & 0o7777, 0o2777);
        }
        // Again: what is mounted stays.
        world.mount("./a//b").unwrap();
        mountpoint::unmount(&world.target()).unwrap();
        assert!(!is_mount_point(&world.target()).unwrap(), "it was mounted twice");
    }

    #[test]
    fn what_replaced_it_is_mounted_instead() {
        let world = World::new();
        fs::write(world.volume().join("key"), "old").unwrap();
        world.mount("key").unwrap();
        assert_eq!(fs::read_to_string(world.target()).unwrap(), "old");
        fs::write(world.volume().join("new"), "new").unwrap();
        fs::rename(world.volume().join("new"), world.volume().join("key")).unwrap();
        world.mount("key").unwrap();
        assert_eq!(fs::read_to_string(world.target()).unwrap(), "new");
        fs::remove_file(world.volume().join("key")).unwrap();
        fs::create_dir(world.volume().join("key")).unwrap();
        world.mount("key").unwrap();
        assert!(world.target().is_dir());
    }

    #[test]
    fn links_within_the_volume_are_followed() {
        let world = World::new();
        fs::create_dir_all(world.volume().join("..1/deep")).unwrap();
        fs::write(world.volume().join("..1/key"), "x").unwrap();
        symlink("..1", world.volume().join("..data")).unwrap();
        symlink("..data/key", world.volume().join("key")).unwrap();
        symlink("..data/deep", world.volume().join("deep")).unwrap();
        world.mount("key").unwrap();
        assert_eq!(fs::read_to_string(world.target()).unwrap(), "x");
        world.mount("deep/er").unwrap();
        assert!(world.volume().join("..1/deep/er").is_dir());
    }

    #[test]
    fn links_out_of_the_volume_are_refused() {
        let world = World::new();
        let outside = world.dir.path().join("outside");
        symlink("../outside", world.volume().join("relative")).unwrap();
        symlink(&outside, world.volume().join("absolute")).unwrap();
        symlink("../outside/new", world.volume().join("dangling")).unwrap();
        symlink("/proc/self/root", world.volume().join("magic")).unwrap();
        symlink("loop", world.volume().join("loop")).unwrap();
        for path in [
            "relative",
            "relative/secret",
            "relative/new",
            "absolute",
            "absolute/new",
            "dangling",
            "dangling/deeper",
            "magic",
            "magic/etc",
            "loop",
        ] {
            assert!(world.mount(path).is_err(), "{path}");
            assert!(!is_mount_point(&world.target()).unwrap(), "{path}");
        }
        assert_eq!(fs::read_dir(outside).unwrap().count(), 1);
    }

    #[test]
    fn paths_that_cannot_be_below_are_refused() {
        let told = |path| check(path).map_err(|problem| problem.to_string());
        assert_eq!(told("/tmp").unwrap_err(), "error SubPath `/tmp` must not be an absolute path");
        assert_eq!(told("a/../b").unwrap_err(), "unable to provision SubPath `a/../b`: must not contain '..'");
        assert_eq!(told("a/..b"), Ok(()));
        let world = World::new();
        assert!(world.mount("..").is_err());
    }
}
