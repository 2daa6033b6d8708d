//! Owns network namespaces: made by a thread that leaves the host's, pinned by a mount, gone with it.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::sched::CloneFlags;
use rtnetlink::LinkUnspec;
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::error::{Error, Result};

/// Loopback is the first interface of every namespace.
const LOOPBACK: u32 = 1;

/// Makes a namespace with loopback up and pins it at `path`. A pin that is already there is
/// replaced: it is of a container that died with its daemon.
pub(super) async fn create(path: &Path) -> Result<()> {
    remove(path)?;
    let pin = path.to_owned();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread of its own, which ends here: no other task must ever run on it.
    std::thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            let made = make(&pin);
            if made.is_err() {
                remove(&pin).ok();
            }
            sender.send(made).ok();
        })
        .map_err(|error| Error::failed("start a thread", error))?;
    let made = receiver.await.unwrap_or_else(|_| Err(io::Error::other("its thread ended")));
    made.map_err(|error| Error::failed(format!("make the network namespace {}", path.display()), error))
}

fn make(pin: &Path) -> io::Result<()> {
    if let Some(folder) = pin.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::create(pin)?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
    mount_bind("/proc/thread-self/ns/net", pin)?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(loopback_up())
}

async fn loopback_up() -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let up = LinkUnspec::new_with_index(LOOPBACK).up().build();
    tokio::select! {
        () = connection => Err(io::Error::other("the kernel closed the connection")),
        done = handle.link().set(up).execute() => done.map_err(io::Error::other),
    }
}

/// Takes the pin away; processes in the namespace keep it. Does nothing where there is none.
pub(super) fn remove(path: &Path) -> Result<()> {
    // Not a mount: a boot took it, or it was never made whole.
    unmount(path, UnmountFlags::DETACH).ok();
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::failed(format!("remove the network namespace {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// Whether a namespace is pinned at `path`.
pub(super) fn exists(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == NSFS)
}

/// The kernel's file system of namespaces (`NSFS_MAGIC`).
const NSFS: rustix::fs::FsWord = 0x6e73_6673;
