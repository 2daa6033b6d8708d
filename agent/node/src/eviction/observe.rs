//! Owns measuring what is left of the node's memory, disks and processes. Cheap: a few small files.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::cri::v1;
use crate::node::capacity::{Capacity, meminfo};

use super::decide::{Observation, Signal};

/// Measures.
#[derive(Debug)]
pub struct Observer {
    root: PathBuf,
    /// Where images are; asked of containerd until it says so.
    images: Option<PathBuf>,
    /// Whether they are on a file system of their own.
    separate: bool,
    /// How many processes and threads there can be.
    pids: Option<u64>,
}

impl Observer {
    /// Of this node.
    pub fn new(context: &Context) -> Self {
        let root = context.settings.root.clone();
        let pids = Capacity::read(&root).pids.and_then(|pids| u64::try_from(pids).ok());
        Self { root, images: None, separate: false, pids }
    }

    /// Whether a signal of the disk is about images and containers only, or about the rest only; nothing
    /// when all is on one disk.
    pub fn separate_images(&self, signal: Signal) -> Option<bool> {
        self.separate.then_some(matches!(signal, Signal::ImageFs | Signal::ImageInodes))
    }

    /// What is left of everything that can be measured.
    pub async fn observe(&mut self, context: &Context) -> Vec<Observation> {
        if self.images.is_none() {
            self.images = image_folder(context).await;
            self.separate = self.images.as_deref().is_some_and(|images| !same_device(images, &self.root));
        }
        let mut seen = Vec::with_capacity(7);
        seen.extend(memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()));
        seen.extend(context.cgroups.memory_of_all().map(|(capacity, used)| Observation {
            signal: Signal::PodsMemory,
            available: capacity.saturating_sub(used),
            capacity,
        }));
        seen.extend(disk(&self.root, Signal::NodeFs, Signal::NodeInodes));
        seen.extend(self.images.iter().flat_map(|images| disk(images, Signal::ImageFs, Signal::ImageInodes)));
        seen.extend(self.pids.and_then(|most| {
            let used = tasks(&std::fs::read_to_string("/proc/loadavg").ok()?)?;
            Some(Observation { signal: Signal::Pids, available: most.saturating_sub(used), capacity: most })
        }));
        seen
    }
}

async fn image_folder(context: &Context) -> Option<PathBuf> {
    let answer = context.cri.image_fs_info(v1::ImageFsInfoRequest {}).await.ok()?;
    let folder = answer.image_filesystems.into_iter().next()?.fs_id?.mountpoint;
    Some(PathBuf::from(folder)).filter(|folder| folder.exists())
}

fn same_device(a: &Path, b: &Path) -> bool {
    let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev).ok();
    device(a) == device(b)
}

/// What the kernel thinks can be had without swapping.
fn memory(text: &str) -> Option<Observation> {
    let bytes = |field: &str| u64::try_from(meminfo(text, field)?).ok();
    Some(Observation { signal: Signal::Memory, available: bytes("MemAvailable")?, capacity: bytes("MemTotal")? })
}

fn disk(path: &Path, room: Signal, inodes: Signal) -> Vec<Observation> {
    let Ok(fs) = rustix::fs::statvfs(path) else { return Vec::new() };
    vec![
        Observation {
            signal: room,
            available: fs.f_bavail.saturating_mul(fs.f_frsize),
            capacity: fs.f_blocks.saturating_mul(fs.f_frsize),
        },
        Observation { signal: inodes, available: fs.f_ffree, capacity: fs.f_files },
    ]
}

/// The number of tasks that `/proc/loadavg` has after the slash.
fn tasks(loadavg: &str) -> Option<u64> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(tasks("0.20 0.18 0.12 1/80 11206\n"), Some(80));
        assert_eq!(tasks(""), None);
        let seen = memory("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: 60 kB\n").unwrap();
        assert_eq!((seen.available, seen.capacity), (60 << 10, 100 << 10));
    }

    #[test]
    fn a_disk_has_room_and_inodes() {
        let seen = disk(Path::new("/"), Signal::NodeFs, Signal::NodeInodes);
        assert!(seen[0].capacity >= seen[0].available && seen[0].capacity > 0);
        assert!(disk(Path::new("/no/such/folder"), Signal::NodeFs, Signal::NodeInodes).is_empty());
    }
}
