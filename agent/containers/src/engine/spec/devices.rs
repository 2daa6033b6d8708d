//! Decides which devices a container has: what every container has, those asked for, or all.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bollard::models::DeviceMapping;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};
use rustix::fs::{FileType, Stat, major, minor};

use crate::error::{Error, Result};

/// Devices to make, and rules of what may be done with devices.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    /// To make, beside those that every runtime makes.
    pub nodes: Vec<LinuxDevice>,
    /// What may be done.
    pub rules: Vec<LinuxDeviceCgroup>,
}

/// What every container may do: make nodes, and use null, zero, full, random, urandom and terminals.
const EVERYONE: [(char, i64, i64, &str); 10] = [
    ('c', -1, -1, "m"),
    ('b', -1, -1, "m"),
    ('c', 1, 3, "rwm"),
    ('c', 1, 5, "rwm"),
    ('c', 1, 7, "rwm"),
    ('c', 1, 8, "rwm"),
    ('c', 1, 9, "rwm"),
    ('c', 5, 0, "rwm"),
    ('c', 5, 2, "rwm"),
    ('c', 136, -1, "rwm"),
];

/// The devices of a container, with those asked for by `--device` and `--device-cgroup-rule`.
pub fn asked(mappings: &[DeviceMapping], rules: &[String]) -> Result<Devices> {
    let mut devices = Devices { nodes: Vec::new(), rules: vec![rule(false, 'a', -1, -1, "rwm")] };
    devices.rules.extend(EVERYONE.map(|(kind, major, minor, access)| rule(true, kind, major, minor, access)));
    for mapping in mappings {
        add(&mut devices, mapping)?;
    }
    for text in rules {
        devices.rules.push(parse(text)?);
    }
    Ok(devices)
}

/// Every device of the host, for privileged containers.
pub fn all() -> Devices {
    let mut devices = Devices { nodes: Vec::new(), rules: vec![rule(true, 'a', -1, -1, "rwm")] };
    walk(Path::new("/dev"), Path::new("/dev"), &mut |path, inside, stat| {
        // The terminals and what the runtime mounts there are the container's own.
        let own =
            ["pts", "shm", "mqueue", "console"].iter().any(|name| inside.starts_with(Path::new("/dev").join(name)));
        if !own && let Some((node, _)) = device(inside, stat, "rwm") {
            tracing::trace!(path = %path.display(), "device");
            devices.nodes.push(node);
        }
    });
    devices
}

fn add(devices: &mut Devices, mapping: &DeviceMapping) -> Result<()> {
    let host = mapping.path_on_host.as_deref().unwrap_or_default();
    let inside = mapping.path_in_container.as_deref().filter(|path| !path.is_empty()).unwrap_or(host);
    let access = mapping.cgroup_permissions.as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
    let failed = |why: &dyn std::fmt::Display| {
        Error::Invalid(format!("error gathering device information while adding custom device \"{host}\": {why}"))
    };
    if !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(failed(&format_args!("invalid access: {access}")));
    }
    let real = std::fs::canonicalize(host).map_err(|_| failed(&"no such file or directory"))?;
    let before = devices.nodes.len();
    walk(&real, Path::new(inside), &mut |_, inside, stat| {
        if let Some((node, rule)) = device(inside, stat, access) {
            devices.nodes.push(node);
            devices.rules.push(rule);
        }
    });
    if devices.nodes.len() == before { Err(failed(&"not a device node")) } else { Ok(()) }
}

/// Calls `visit` for `path`, or what is below it; links are not followed.
fn walk(path: &Path, inside: &Path, visit: &mut dyn FnMut(&Path, &Path, &Stat)) {
    let Ok(stat) = rustix::fs::lstat(path) else { return };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return visit(path, inside, &stat);
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        walk(&entry.path(), &inside.join(entry.file_name()), visit);
    }
}

/// The node at `inside` that is like `stat`, if that is a device.
fn device(inside: &Path, stat: &Stat, access: &str) -> Option<(LinuxDevice, LinuxDeviceCgroup)> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        _ => return None,
    };
    let (major, minor) = (i64::from(major(stat.st_rdev)), i64::from(minor(stat.st_rdev)));
    let mut node = LinuxDevice::default();
    node.set_path(PathBuf::from(std::ffi::OsStr::from_bytes(inside.as_os_str().as_bytes())));
    node.set_typ(letter(kind)).set_major(major).set_minor(minor);
    node.set_file_mode(Some(stat.st_mode & 0o7777)).set_uid(Some(stat.st_uid)).set_gid(Some(stat.st_gid));
    Some((node, rule(true, kind, major, minor, access)))
}

fn letter(kind: char) -> LinuxDeviceType {
    match kind {
        'b' => LinuxDeviceType::B,
        'c' => LinuxDeviceType::C,
        _ => LinuxDeviceType::A,
    }
}

fn rule(allow: bool, kind: char, major: i64, minor: i64, access: &str) -> LinuxDeviceCgroup {
    let number = |number: i64| Some(number).filter(|number| *number >= 0);
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_typ(Some(letter(kind))).set_access(Some(access.to_owned()));
    rule.set_major(number(major)).set_minor(number(minor));
    rule
}

/// `c 42:* rmw`, as `--device-cgroup-rule` takes it.
fn parse(text: &str) -> Result<LinuxDeviceCgroup> {
    let number = |text: &str| if text == "*" { Some(-1) } else { text.parse::<u32>().ok().map(i64::from) };
    let read = || {
        let mut words = text.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let kind = kind.chars().next().filter(|letter| kind.len() == 1 && "abc".contains(*letter))?;
        let (major, minor) = numbers.split_once(':')?;
        let fits = !access.is_empty() && access.len() <= 3 && access.chars().all(|letter| "rwm".contains(letter));
        (fits && words.next().is_none()).then_some(rule(true, kind, number(major)?, number(minor)?, access))
    };
    read().ok_or_else(|| Error::Invalid(format!("invalid device cgroup rule format: '{text}'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host: &str, inside: &str, access: &str) -> DeviceMapping {
        DeviceMapping {
            path_on_host: Some(host.to_owned()),
            path_in_container: Some(inside.to_owned()),
            cgroup_permissions: Some(access.to_owned()),
        }
    }

    #[test]
    fn a_device_is_made_and_allowed() {
        let devices = asked(&[mapping("/dev/null", "/dev/hole", "rw")], &[]).unwrap();
        assert_eq!(devices.nodes[0].path(), Path::new("/dev/hole"));
        assert_eq!((devices.nodes[0].major(), devices.nodes[0].minor()), (1, 3));
        assert_eq!(devices.rules.last().unwrap().access().as_deref(), Some("rw"));
        assert!(!devices.rules[0].allow());
    }

    #[test]
    fn what_is_no_device_is_refused() {
        assert!(asked(&[mapping("/etc/passwd", "/dev/x", "rwm")], &[]).is_err());
        assert!(asked(&[mapping("/dev/nowhere", "/dev/x", "rwm")], &[]).is_err());
        assert!(asked(&[mapping("/dev/null", "/dev/x", "rwx")], &[]).is_err());
    }

    #[test]
    fn rules_are_read() {
        let rule = parse("c 42:* rmw").unwrap();
        assert_eq!((rule.typ(), rule.major(), rule.minor()), (Some(LinuxDeviceType::C), Some(42), None));
        for bad in ["", "c 42 r", "d 1:1 r", "c 1:x r", "c 1:1 z", "c 1:1 r r"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
