//! The layout step over a small root that has one of everything it deals with.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::root::Root;
use super::{Accounts, LayoutError, MACHINE_ID, apply};
use crate::manifest::{Initramfs, Manifest, Units, VersionRule};

fn manifest() -> Manifest {
    Manifest {
        path: "host.toml".into(),
        name: "test-host".into(),
        reference: "test/host".into(),
        version: VersionRule::Fixed("1".into()),
        architecture: "amd64".into(),
        repositories: Vec::new(),
        local: Vec::new(),
        packages: Vec::new(),
        exclude: Vec::new(),
        recommends: false,
        files: Vec::new(),
        units: Units::default(),
        users: Vec::new(),
        groups: Vec::new(),
        kargs: Vec::new(),
        hostname: None,
        os_release: BTreeMap::new(),
        initramfs: Initramfs::default(),
        update_url: None,
        postprocess: Vec::new(),
        images: Vec::new(),
    }
}

/// Files of the small root: path, mode, content. Their owner is whoever runs the test, and is
/// called `root` there.
const FILES: [(&str, u32, &str); 27] = [
    ("boot/vmlinuz-6.1", 0o644, "kernel"),
    ("boot/config-6.1", 0o644, "config"),
    ("boot/grub/grub.cfg", 0o644, "x"),
    ("dev/null", 0o644, ""),
    ("etc/hostname", 0o644, "build-machine\n"),
    ("etc/machine-id", 0o444, "0123456789abcdef0123456789abcdef\n"),
    ("etc/passwd-", 0o644, "old"),
    ("etc/resolv.conf", 0o644, "nameserver 192.0.2.1\n"),
    ("etc/ssh/ssh_host_ed25519_key", 0o600, "secret"),
    ("etc/ssh/sshd_config", 0o644, "x"),
    ("etc/x/y.conf.dpkg-dist", 0o644, "x"),
    ("opt/tool/bin/tool", 0o755, "tool"),
    ("root/.profile", 0o644, "umask 022\n"),
    ("tmp/left", 0o644, "x"),
    ("usr/lib/modules/6.1/initramfs.img", 0o600, "initramfs"),
    ("usr/lib/os-release", 0o644, "ID=debian\n"),
    ("usr/lib/systemd/system/ldconfig.service", 0o644, "[Service]\n"),
    ("usr/lib/tmpfiles.d/home.conf", 0o644, "Q /home 0755 - - -\nq /var/tmp 1777 root root 30d\n"),
    ("usr/local/bin/mine", 0o755, "mine"),
    ("var/cache/apt/pkgcache.bin", 0o644, "x"),
    ("var/lib/app/data", 0o640, "data"),
    ("var/lib/dpkg/info/app.list", 0o644, "/usr/bin/app\n"),
    ("var/lib/dpkg/status", 0o644, "Package: app\n"),
    ("var/lib/dpkg/status-old", 0o644, "x"),
    ("var/lib/systemd/catalog/database", 0o644, "catalog"),
    ("var/log/dpkg.log", 0o644, "2026 status"),
    ("var/log/wtmp", 0o664, ""),
];

fn small_root(dir: &Path, names: impl Iterator<Item = (&'static str, u32, &'static str)>) -> Accounts {
    let root = Root(dir);
    for (path, mode, content) in names {
        root.write(path, content, mode).unwrap();
    }
    let me = root.stat("etc").unwrap().unwrap();
    let passwd = format!("root:x:{}:{}:root:/root:/bin/bash\n", me.uid(), me.gid());
    let group = format!("root:x:{}:\n", me.gid());
    root.write("etc/passwd", &passwd, 0o644).unwrap();
    root.write("etc/group", &group, 0o644).unwrap();
    root.make_dir("var/tmp").unwrap();
    root.make_dir("var/log/journal").unwrap();
    root.link("vmlinuz", "boot/vmlinuz-6.1").unwrap();
    root.link("etc/systemd/system/multi-user.target.wants/a.service", "/usr/lib/systemd/system/a.service").unwrap();
    root.link("etc/systemd/system/multi-user.target.wants/b.service", "/usr/lib/systemd/system/b.service").unwrap();
    root.link("etc/systemd/system/b.service", "/dev/null").unwrap();
    Accounts::parse(&passwd, &group)
}

/// Every path with its mode and its content or target.
fn listing(root: &Root, folder: &str, all: &mut Vec<String>) {
    for name in root.list(folder).unwrap() {
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let found = root.stat(&path).unwrap().unwrap();
        let text = match found.file_type() {
            kind if kind.is_symlink() => std::fs::read_link(root.join(&path)).unwrap().display().to_string(),
            kind if kind.is_file() => root.read(&path).unwrap().unwrap(),
            _ => String::new(),
        };
        all.push(format!("{path} {:o} {text}", found.mode()));
        if found.is_dir() {
            listing(root, &path, all);
        }
    }
}

#[test]
fn a_small_root_becomes_an_ostree_tree() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = small_root(dir.path(), FILES.into_iter());
    apply(dir.path(), &manifest(), &accounts, Some("1.2")).unwrap();
    let root = Root(dir.path());
    let read = |path: &str| root.read(path).unwrap().unwrap_or_else(|| panic!("no {path}"));
    let top = root.list("").unwrap();
    assert_eq!(top.join(" "), "boot dev home media mnt opt ostree proc root run srv sys sysroot tmp usr var");
    for empty in ["boot", "dev", "tmp", "var"] {
        assert!(root.list(empty).unwrap().is_empty(), "{empty}");
    }
    assert_eq!(root.list("usr/etc").unwrap().join(" "), "group machine-id passwd ssh systemd x");
    assert_eq!(root.list("usr/etc/ssh").unwrap(), ["sshd_config"]);
    assert!(root.list("usr/etc/x").unwrap().is_empty());
    assert_eq!(read("usr/etc/machine-id"), MACHINE_ID);
    assert_eq!(root.list("usr/lib/modules/6.1").unwrap().join(" "), "config initramfs.img vmlinuz");
    assert_eq!(root.list("usr/lib/sysimage/dpkg").unwrap().join(" "), "info status");
    assert_eq!(read("usr/lib/opt/tool/bin/tool"), "tool");
    assert_eq!(read("usr/share/factory/var/lib/app/data"), "data");
    assert!(read("usr/lib/os-release").contains("IMAGE_VERSION=1.2\n"));
    assert!(read("usr/lib/systemd/system-preset/00-keelson.preset").ends_with("\nenable a.service\ndisable *\n"));
    assert_eq!(read("usr/lib/tmpfiles.d/home.conf"), "Q /var/home 0755 - - -\nq /var/tmp 1777 root root 30d\n");
    let lines: Vec<String> = read("usr/lib/tmpfiles.d/keelson-var.conf").lines().skip(1).map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "d /var/cache 0755 root root -",
            "d /var/cache/apt 0755 root root -",
            "d /var/lib 0755 root root -",
            "d /var/lib/app 0755 root root -",
            "C /var/lib/app/data - - - -",
            "L /var/lib/dpkg - - - - /usr/lib/sysimage/dpkg",
            "d /var/lib/systemd 0755 root root -",
            "d /var/lib/systemd/catalog 0755 root root -",
            "L /var/lib/systemd/catalog/database - - - - /usr/lib/sysimage/journal-catalog",
            "d /var/log 0755 root root -",
            "d /var/log/journal 0755 root root -",
            "f /var/log/wtmp 0664 root root -",
            "d /var/mnt 0755 root root -",
            "d /var/opt 0755 root root -",
            "L /var/opt/tool - - - - /usr/lib/opt/tool",
            "d /var/roothome 0755 root root -",
            "C /var/roothome/.profile - - - -",
            "d /var/srv 0755 root root -",
            "d /var/usrlocal 0755 root root -",
            "d /var/usrlocal/bin 0755 root root -",
            "L /var/usrlocal/bin/mine - - - - /usr/lib/local/bin/mine",
        ]
    );
}

#[test]
fn neither_folder_nor_order_shows_in_the_result() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let results = [
        (one.path(), small_root(one.path(), FILES.into_iter())),
        (two.path(), small_root(two.path(), FILES.into_iter().rev())),
    ]
    .map(|(dir, accounts)| {
        apply(dir, &manifest(), &accounts, None).unwrap();
        let mut all = Vec::new();
        listing(&Root(dir), "", &mut all);
        all
    });
    assert_eq!(results[0], results[1]);
}

#[test]
fn two_kernels_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let accounts = small_root(dir.path(), FILES.into_iter());
    Root(dir.path()).write("boot/vmlinuz-6.2", "kernel", 0o644).unwrap();
    let error = apply(dir.path(), &manifest(), &accounts, None).unwrap_err();
    assert!(matches!(&error, LayoutError::Kernels { found } if *found == ["6.1", "6.2"]), "{error}");
}
