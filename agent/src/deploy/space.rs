//! Owns the question whether there is room: before anything is downloaded and before anything is
//! staged. The arithmetic is pure; measuring is one `statvfs` a filesystem.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::DeployError;
use super::host::Host;

/// Room for what staging writes besides hard links: folders, `/etc`, boot entries.
const STAGING: u64 = 32 << 20;

/// Not enough room; all figures in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not enough disk space on {place}: {} needed ({}), {} free; `keelctl cleanup --rollback` frees what the previous version takes",
    mib(*.needed), .why, mib(*.free)
)]
pub struct Shortage {
    /// The folder whose filesystem is short.
    pub place: String,
    /// Bytes needed.
    pub needed: u64,
    /// Bytes an unprivileged program could still write.
    pub free: u64,
    /// What they are needed for.
    pub why: String,
}

/// Bytes as MiB, rounded up.
pub fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// What an upgrade will write, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// Objects into the repository, under `/sysroot`.
    pub objects: u64,
    /// Kernel and initramfs into `/boot`.
    pub boot: u64,
    /// What libostree keeps free in the repository's filesystem.
    pub reserve: u64,
}

/// What is free, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// Under `/sysroot`.
    pub sysroot: u64,
    /// Under `/boot`.
    pub boot: u64,
    /// Whether the two are one filesystem, whose space then counts once.
    pub same: bool,
}

/// Compares the two.
pub fn check(need: &Need, free: &Free) -> Result<(), Shortage> {
    let staging = STAGING + need.reserve;
    let on_sysroot = need.objects + staging + if free.same { need.boot } else { 0 };
    if on_sysroot > free.sysroot {
        let mut parts = vec![format!("{} download", mib(need.objects))];
        if free.same {
            parts.push(format!("{} kernel and initramfs", mib(need.boot)));
        }
        parts.push(format!("{} kept free", mib(staging)));
        return Err(shortage("/sysroot", on_sysroot, free.sysroot, &parts.join(" + ")));
    }
    if !free.same && need.boot > free.boot {
        return Err(shortage("/boot", need.boot, free.boot, "kernel and initramfs"));
    }
    Ok(())
}

fn shortage(place: &str, needed: u64, free: u64, why: &str) -> Shortage {
    Shortage { place: place.to_owned(), needed, free, why: why.to_owned() }
}

/// Measures the host's free space.
pub fn free(host: &Host) -> Result<Free, DeployError> {
    let (sysroot, boot) = (host.root().to_owned(), host.root().join("boot"));
    Ok(Free {
        sysroot: available(&sysroot.join("ostree/repo"))?,
        boot: available(&boot)?,
        same: device(&sysroot.join("ostree/repo"))? == device(&boot)?,
    })
}

/// Bytes that are free to an unprivileged program on the filesystem of `path`.
pub fn available(path: &Path) -> Result<u64, DeployError> {
    let figures = rustix::fs::statvfs(path).map_err(|source| io(path, source.into()))?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

fn device(path: &Path) -> Result<u64, DeployError> {
    path.metadata().map(|metadata| metadata.dev()).map_err(|source| io(path, source))
}

fn io(path: &Path, source: std::io::Error) -> DeployError {
    DeployError::Io { path: path.to_owned(), source }
}

/// Bytes of the regular files right below `dir`; 0 where there is none.
pub fn files_in(dir: &Path) -> u64 {
    let Ok(entries) = dir.read_dir() else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn one_filesystem_counts_once() {
        let need = Need { objects: 100 * MIB, boot: 50 * MIB, reserve: 10 * MIB };
        let enough = 192 * MIB;
        assert!(check(&need, &Free { sysroot: enough, boot: enough, same: true }).is_ok());
        let short = check(&need, &Free { sysroot: enough - 1, boot: enough - 1, same: true }).unwrap_err();
        assert_eq!((short.needed, short.free), (192 * MIB, 192 * MIB - 1));
        let text = short.to_string();
        assert!(text.starts_with("not enough disk space on /sysroot: 192 MiB needed (100 MiB download"), "{text}");
    }

    #[test]
    fn a_small_boot_partition_is_its_own_limit() {
        let need = Need { objects: MIB, boot: 50 * MIB, reserve: 0 };
        let short = check(&need, &Free { sysroot: 1 << 40, boot: 49 * MIB, same: false }).unwrap_err();
        assert_eq!(short.place, "/boot");
        assert!(check(&need, &Free { sysroot: 1 << 40, boot: 50 * MIB, same: false }).is_ok());
    }

    #[test]
    fn sums_only_files() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), [0; 10]).unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        assert_eq!(files_in(dir.path()), 10);
        assert_eq!(files_in(&dir.path().join("none")), 0);
    }
}
