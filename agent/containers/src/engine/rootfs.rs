//! Owns looking into the file system of a container from outside: mounted where no one else sees
//! it, with every path resolved as if it were the root.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use containerd_client::types::Mount;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

use super::Engine;
use super::container::Container;
use super::spec::Accounts;
use crate::error::{Error, Result};

/// Files that tell of users are read up to here.
const LARGEST: u64 = 4 << 20;

/// The root folder of a container. What keeps it mounted is this alone.
#[derive(Debug)]
pub struct Rootfs(OwnedFd);

impl AsFd for Rootfs {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Rootfs {
    /// Mounts what `mounts` say, without a place in any folder.
    pub fn mount(mounts: &[Mount]) -> Result<Self> {
        let failed = |error| Error::failed("mount the file system of the container", error);
        match mounts {
            [mount] if mount.r#type == "overlay" => overlay(mount).map(Self).map_err(failed),
            [mount] if mount.r#type == "bind" => {
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                open_tree(CWD, mount.source.as_str(), flags).map(Self).map_err(failed)
            }
            _ => Err(failed(Errno::NOTSUP)),
        }
    }

    /// The root of the process `pid`.
    pub fn of_process(pid: u32) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(format!("/proc/{pid}/root"), flags, Mode::empty());
        root.map(Self).map_err(|error| Error::failed("look into the container", error))
    }

    /// The root of the process `pid` without what is mounted below it.
    pub fn without_mounts(pid: u32) -> Result<Self> {
        // Only from within its mount namespace can a mount be taken alone, and a thread that enters one
        // is of no other use afterwards.
        let thread = std::thread::spawn(move || -> std::result::Result<OwnedFd, Errno> {
            let namespace = open(format!("/proc/{pid}/ns/mnt"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            let root = open(format!("/proc/{pid}/root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            let errno = |error: nix::errno::Errno| Errno::from_raw_os_error(error as i32);
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).map_err(errno)?;
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNS).map_err(errno)?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            open_tree(root, "", flags | OpenTreeFlags::AT_EMPTY_PATH)
        });
        let root = thread.join().unwrap_or(Err(Errno::CANCELED));
        root.map(Self).map_err(|error| Error::failed("look into the container", error))
    }

    /// A folder of this host as the root.
    pub fn of_folder(path: &std::path::Path) -> Result<Self> {
        let root = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        root.map(Self).map_err(|error| Error::failed(format_args!("look into {}", path.display()), error))
    }

    /// Opens what is at `path` inside; links are followed inside.
    pub fn open(&self, path: &str, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let path = path.trim_start_matches('/');
        let path = if path.is_empty() { "." } else { path };
        openat2(
            &self.0,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }

    /// What the files inside say about users; what is not there says nothing.
    pub fn accounts(&self) -> Accounts {
        Accounts { passwd: self.text("etc/passwd"), group: self.text("etc/group") }
    }

    fn text(&self, path: &str) -> String {
        let mut text = Vec::new();
        let Ok(file) = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK) else { return String::new() };
        let regular = fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if regular {
            File::from(file).take(LARGEST).read_to_end(&mut text).ok();
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn overlay(mount: &Mount) -> std::result::Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for option in &mount.options {
        match option.split_once('=') {
            // One by one: together they may be longer than the kernel takes.
            Some(("lowerdir", all)) => {
                for lower in all.split(':') {
                    fsconfig_set_string(&context, "lowerdir+", lower)?;
                }
            }
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None if matches!(option.as_str(), "ro" | "rw") => {}
            None => fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

impl Engine {
    /// The file system of a container: as its process sees it while it runs, else its snapshot.
    pub async fn rootfs(&self, container: &Container) -> Result<Rootfs> {
        let state = container.state();
        if state.status.alive() {
            return Rootfs::of_process(state.pid);
        }
        let mounts = self.tasks.mounts(container.id()).await?;
        tokio::task::spawn_blocking(move || Rootfs::mount(&mounts))
            .await
            .map_err(|error| Error::failed("look into the container", error))?
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("inside"), "root:x:0:0::/:/bin/sh\n").unwrap();
        symlink("../../../inside", folder.path().join("etc/passwd")).unwrap();
        symlink("/etc/hostname", folder.path().join("etc/group")).unwrap();
        let root = open(folder.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map(Rootfs).unwrap();
        let accounts = root.accounts();
        assert!(accounts.passwd.starts_with("root:"));
        assert_eq!(accounts.group, "");
    }
}
