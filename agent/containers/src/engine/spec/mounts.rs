//! Decides what is mounted in a container, and in which order.

use std::path::{Path, PathBuf};

use bollard::models::{HostConfig, MountPoint, MountType};
use oci_spec::runtime::Mount;

use crate::error::{Error, Result};

/// How large /dev/shm is when nothing is asked.
pub const SHM_SIZE: i64 = 64 << 20;

/// Whose shared memory a container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shm {
    /// Its own.
    Own,
    /// None.
    None,
    /// That of the host or of another container, in this folder.
    Shared(PathBuf),
}

/// What there is to mount.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// How the container runs.
    pub host: &'a HostConfig,
    /// Its binds and volumes.
    pub points: &'a [MountPoint],
    /// The folder with the `hosts`, `hostname` and `resolv.conf` made for it.
    pub files: Option<&'a Path>,
    /// The program of the host that is put before its own.
    pub init: Option<&'a str>,
    /// Its shared memory.
    pub shm: Shm,
}

/// The mounts, what is above before what is below.
pub fn decide(wanted: &Wanted<'_>) -> Result<Vec<Mount>> {
    let host = wanted.host;
    let mut own = defaults(host.privileged.unwrap_or(false));
    own.extend(shared_memory(&wanted.shm, host.shm_size));
    own.extend(files(wanted.files, host.readonly_rootfs.unwrap_or(false)));
    own.extend(wanted.init.map(|init| mount(super::INIT, "bind", init, &["bind", "ro", "rprivate"])));
    let mut asked = wanted.points.iter().map(|point| bind(point, host)).collect::<Result<Vec<_>>>()?;
    for (target, options) in host.tmpfs.iter().flatten() {
        asked.push(tmpfs(target, options.split(',').map(str::to_owned).collect()));
    }
    asked.extend(tmpfs_mounts(host));
    // What is asked for takes the place of what everyone gets.
    own.retain(|mount| !asked.iter().any(|other| other.destination() == mount.destination()));
    own.extend(asked);
    own.sort_by_key(|mount| mount.destination().components().count());
    Ok(own)
}

fn mount(target: impl Into<PathBuf>, typ: &str, source: impl Into<PathBuf>, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(target.into()).set_typ(Some(typ.to_owned())).set_source(Some(source.into()));
    mount.set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

fn defaults(privileged: bool) -> Vec<Mount> {
    let access = if privileged { "rw" } else { "ro" };
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[access, "nosuid", "noexec", "nodev"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ]
}

fn shared_memory(shm: &Shm, size: Option<i64>) -> Option<Mount> {
    let size = size.filter(|size| *size > 0).unwrap_or(SHM_SIZE);
    match shm {
        Shm::None => None,
        Shm::Own => Some(mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", &format!("size={size}")],
        )),
        Shm::Shared(folder) => {
            Some(mount("/dev/shm", "bind", folder, &["rbind", "rprivate", "nosuid", "noexec", "nodev"]))
        }
    }
}

fn files(folder: Option<&Path>, read_only: bool) -> Vec<Mount> {
    let access = if read_only { "ro" } else { "rw" };
    let one = |folder: &Path, name: &str| {
        mount(Path::new("/etc").join(name), "bind", folder.join(name), &["rbind", "rprivate", access])
    };
    folder.map(|folder| ["resolv.conf", "hostname", "hosts"].map(|name| one(folder, name)).to_vec()).unwrap_or_default()
}

fn bind(point: &MountPoint, host: &HostConfig) -> Result<Mount> {
    let target = point.destination.as_deref().unwrap_or_default();
    let asked = host.mounts.iter().flatten().find(|mount| mount.target.as_deref() == Some(target));
    let options = asked.and_then(|mount| mount.bind_options.as_ref());
    let recursive = !options.and_then(|options| options.non_recursive).unwrap_or(false);
    let shallow = options.and_then(|options| options.read_only_non_recursive).unwrap_or(false);
    let mut words = vec![if recursive { "rbind" } else { "bind" }];
    match point.rw.unwrap_or(true) {
        true => words.push("rw"),
        // Not what is mounted below either, as Docker has it.
        false if recursive && !shallow => words.extend(["ro", "rro"]),
        false => words.push("ro"),
    }
    words.push(point.propagation.as_deref().filter(|text| !text.is_empty()).unwrap_or("rprivate"));
    let source = point.source.as_deref().filter(|source| source.starts_with('/'));
    let source = source.ok_or_else(|| Error::Invalid(format!("the mount at {target} has no source")))?;
    Ok(mount(target, "bind", source, &words))
}

fn tmpfs(target: &str, asked: Vec<String>) -> Mount {
    let mut options: Vec<String> = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
    for option in asked.into_iter().filter(|option| !option.is_empty()) {
        // `exec` undoes `noexec`, and the like.
        let opposite = option.strip_prefix("no").map_or_else(|| format!("no{option}"), str::to_owned);
        options.retain(|known| *known != opposite && *known != option);
        options.push(option);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    mount(target, "tmpfs", "tmpfs", &options)
}

fn tmpfs_mounts(host: &HostConfig) -> Vec<Mount> {
    let wanted = host.mounts.iter().flatten().filter(|mount| mount.typ == Some(MountType::TMPFS));
    let one = |asked: &bollard::models::Mount| {
        let mut options = Vec::new();
        if let Some(given) = &asked.tmpfs_options {
            options.extend(given.size_bytes.filter(|size| *size > 0).map(|size| format!("size={size}")));
            options.extend(given.mode.filter(|mode| *mode > 0).map(|mode| format!("mode={mode:o}")));
            options.extend(given.options.iter().flatten().map(|pair| pair.join("=")));
        }
        if asked.read_only.unwrap_or(false) {
            options.push("ro".to_owned());
        }
        tmpfs(asked.target.as_deref().unwrap_or_default(), options)
    };
    wanted.map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn decided(host: &HostConfig, points: &[MountPoint]) -> Vec<Mount> {
        let files = Some(Path::new("/c"));
        decide(&Wanted { host, points, files, init: None, shm: Shm::Own }).unwrap()
    }

    fn point(source: &str, target: &str, rw: bool) -> MountPoint {
        MountPoint {
            typ: Some("bind".to_owned()),
            source: Some(source.to_owned()),
            destination: Some(target.to_owned()),
            rw: Some(rw),
            ..MountPoint::default()
        }
    }

    fn options(mounts: &[Mount], target: &str) -> String {
        let found: Vec<&Mount> = mounts.iter().filter(|mount| mount.destination() == Path::new(target)).collect();
        assert_eq!(found.len(), 1, "{target}");
        found[0].options().clone().unwrap_or_default().join(",")
    }

    #[test]
    fn everyone_gets_these() {
        let mounts = decided(&HostConfig::default(), &[]);
        assert_eq!(options(&mounts, "/sys"), "nosuid,noexec,nodev,ro");
        assert!(options(&mounts, "/dev/shm").ends_with("size=67108864"));
        assert_eq!(options(&mounts, "/etc/hosts"), "rbind,rprivate,rw");
        let privileged = decided(&HostConfig { privileged: Some(true), ..HostConfig::default() }, &[]);
        assert!(options(&privileged, "/sys/fs/cgroup").starts_with("rw"));
    }

    #[test]
    fn what_is_asked_for_takes_the_place() {
        let mounts = decided(&HostConfig::default(), &[point("/x", "/dev/shm", false), point("/y", "/a/b/c", true)]);
        assert_eq!(options(&mounts, "/dev/shm"), "rbind,ro,rro,rprivate");
        assert_eq!(options(&mounts, "/a/b/c"), "rbind,rw,rprivate");
        let depths: Vec<usize> = mounts.iter().map(|mount| mount.destination().components().count()).collect();
        assert!(depths.is_sorted());
    }

    #[test]
    fn options_of_a_tmpfs() {
        let tmpfs = HashMap::from([("/run".to_owned(), "exec,size=1m".to_owned())]);
        let mounts = decided(&HostConfig { tmpfs: Some(tmpfs), ..HostConfig::default() }, &[]);
        assert_eq!(options(&mounts, "/run"), "nosuid,nodev,exec,size=1m");
    }

    #[test]
    fn a_bind_needs_a_source() {
        let host = HostConfig::default();
        assert!(bind(&point("relative", "/x", true), &host).is_err());
    }
}
