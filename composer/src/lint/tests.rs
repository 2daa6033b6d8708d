//! One good small tree, and for every lint the changes that it must find.

use std::collections::BTreeMap;

use gio::prelude::*;

use super::tree::{Content, Entry, Kind, Tree, TreeError};
use super::{Context, LINTS, check, run};
use crate::layout::Accounts;

/// A line for each path: type, mode, owner:group, path, and content or target.
const GOOD: &str = "\
d 755 0:0 boot\nd 755 0:0 dev\nd 755 0:0 proc\nd 755 0:0 run\nd 755 0:0 sys\nd 755 0:0 sysroot\nd 1777 0:0 tmp
d 755 0:0 usr\nd 755 0:0 var
l 777 0:0 bin usr/bin
l 777 0:0 home var/home
l 777 0:0 mnt var/mnt
l 777 0:0 opt var/opt
l 777 0:0 ostree sysroot/ostree
l 777 0:0 root var/roothome
l 777 0:0 srv var/srv
l 777 0:0 usr/local ../var/usrlocal
d 755 0:0 usr/etc
f 644 0:0 usr/etc/passwd root:x:0:0:root:/root:/bin/sh\\napp:x:100:101::/:/bin/false\\n
f 644 0:0 usr/etc/group root:x:0:app\\napp:x:101:\\n
f 640 0:0 usr/etc/shadow root:*:::::::\\napp:*:::::::\\n
f 444 0:0 usr/etc/machine-id uninitialized\\n
d 755 0:0 usr/etc/ssh
d 755 0:0 usr/etc/systemd/system/multi-user.target.wants
l 777 0:0 usr/etc/systemd/system/multi-user.target.wants/a.service /lib/systemd/system/a.service
l 777 0:0 usr/etc/systemd/system/b.service /dev/null
l 777 0:0 usr/etc/os-release ../usr/lib/os-release
l 777 0:0 lib usr/lib
f 4755 0:0 usr/bin/su elf
f 644 100:101 usr/lib/app.py
f 644 0:0 usr/lib/__pycache__/app.cpython-313.pyc \\u{0}\\u{0}\\r\\n\\u{1}\\u{0}\\u{0}\\u{0}hash
d 755 0:0 usr/lib/modules/6.1
f 644 0:0 usr/lib/modules/6.1/vmlinuz kernel
f 644 0:0 usr/lib/modules/6.1/initramfs.img initramfs
f 644 0:0 usr/lib/os-release ID=x\\nNAME=X\\nPRETTY_NAME=X\\nVERSION_ID=1\\n
f 644 0:0 usr/lib/systemd/system/a.service [Service]\\n
d 755 0:0 usr/lib/sysusers.d
f 644 0:0 usr/lib/sysusers.d/x.conf u root 0\\nu app 100:101\\n
d 755 0:0 usr/lib/tmpfiles.d
f 644 0:0 usr/lib/tmpfiles.d/x.conf d /var/lib\\nd /var/lib/app\\\\x20data 0755 app app -\\nC /var/lib/app/file - - - -\\n
d 755 0:0 usr/lib/sysimage/dpkg/info
f 644 0:0 usr/lib/sysimage/dpkg/status Package: su\\nStatus: install ok installed\\nArchitecture: all\\n\\n
f 644 0:0 usr/lib/sysimage/dpkg/info/su.list /bin/su\\n/var/lib\\n/var/lib/app data\\n/var/cache/x/y.bin\\n
f 644 0:0 usr/share/factory/var/lib/app/file data
";

/// A lint's name and lines over [`GOOD`] (the last for a path wins; `-` and a path removes it) that
/// it must find, and that no other fatal lint must.
const BAD: &[(&str, &str)] = &[
    ("usr-etc", "d 755 0:0 etc"),
    ("top-level", "f 644 0:0 vmlinuz x"),
    ("top-level", "l 777 0:0 root var/root"),
    ("top-level", "- media\n- sysroot"),
    ("var-empty", "f 644 0:0 var/x x"),
    ("runtime-empty", "f 644 0:0 tmp/x x"),
    ("special-files", "s 644 0:0 usr/lib/socket"),
    ("foreign-links", "l 777 0:0 usr/lib/x /build/x"),
    ("foreign-links", "l 777 0:0 usr/lib/x /tmp/x"),
    ("host-keys", "f 600 0:0 usr/etc/ssh/ssh_host_rsa_key x"),
    ("machine-id", "f 444 0:0 usr/etc/machine-id 0123456789abcdef0123456789abcdef\\n"),
    ("private-keys", "f 600 0:0 usr/etc/ssl/private/x.key x"),
    ("kernel", "f 644 0:0 usr/lib/modules/6.1/initramfs.img"),
    ("kernel", "f 644 0:0 usr/lib/modules/6.2/vmlinuz x\nf 644 0:0 usr/lib/modules/6.2/initramfs.img x"),
    ("no-kernel", "- usr/lib/modules/6.1/vmlinuz"),
    ("accounts", "f 644 0:0 usr/etc/group root:x:0:app,gone\\napp:x:101:\\n"),
    ("accounts", "f 644 0:0 usr/etc/passwd root:x:0:7:root:/root:/bin/sh\\napp:x:100:101::/:/bin/false\\n"),
    ("accounts", "f 640 0:0 usr/etc/shadow root:*:::::::\\n"),
    ("owners", "f 644 55:0 usr/lib/x x"),
    ("owners", "f 644 0:55 usr/lib/x x"),
    ("sysusers", "f 644 0:0 usr/lib/sysusers.d/x.conf u root 0\\n"),
    ("dpkg-database", "- usr/lib/sysimage/dpkg/status"),
    ("dpkg-database", "- usr/lib/sysimage/dpkg/info/su.list\nf 755 0:0 usr/bin/su x"),
    ("dpkg-database", "f 644 0:0 usr/lib/sysimage/dpkg/status Package: su\\nStatus: install ok half-configured\\n"),
    ("leftovers", "f 644 0:0 usr/lib/x.dpkg-new x"),
    ("sandbox", "f 755 0:0 usr/sbin/policy-rc.d x"),
    ("var-tmpfiles", "f 644 0:0 usr/lib/tmpfiles.d/x.conf d /var/lib\\n"),
    ("factory", "- usr/share/factory/var/lib/app/file"),
    ("setuid", "f 2755 0:0 usr/bin/mine x"),
    ("world-writable", "f 666 0:0 usr/lib/x x"),
    ("world-writable", "d 777 0:0 usr/lib/x"),
    ("os-release", "f 644 0:0 usr/lib/os-release ID=x\\nNAME=X\\nVERSION_ID=1\\n"),
    ("units", "- usr/lib/systemd/system/a.service"),
    (
        "python-cache",
        "f 644 0:0 usr/lib/__pycache__/app.cpython-313.pyc \\u{0}\\u{0}\\r\\n\\u{0}\\u{0}\\u{0}\\u{0}time",
    ),
];

/// Lints that are tested with something else than lines.
const OTHERWISE: [&str; 4] = ["file-names", "boot-size", "kargs", "account-ids"];

struct Memory(BTreeMap<String, String>);

impl Content for Memory {
    fn start(&self, path: &str, limit: usize) -> Result<Vec<u8>, TreeError> {
        let text = self.0.get(path).map(String::as_bytes).unwrap_or_default();
        Ok(text[..text.len().min(limit)].to_vec())
    }
}

fn tree(changes: &str) -> Tree {
    let (mut entries, mut contents) = (BTreeMap::new(), BTreeMap::new());
    for line in GOOD.lines().chain(changes.lines()) {
        if let Some(path) = line.strip_prefix("- ") {
            entries.remove(path);
            continue;
        }
        let fields: Vec<&str> = line.splitn(5, ' ').collect();
        let path = fields[3].to_owned();
        let text = unescape(fields.get(4).copied().unwrap_or_default());
        let (uid, gid) = fields[2].split_once(':').unwrap();
        let kind = match fields[0] {
            "d" => Kind::Dir,
            "f" => Kind::File,
            "l" => Kind::Link(text.clone()),
            _ => Kind::Special("socket"),
        };
        let mode = u32::from_str_radix(fields[1], 8).unwrap();
        let size = text.len() as u64;
        entries.insert(path.clone(), Entry { kind, mode, uid: uid.parse().unwrap(), gid: gid.parse().unwrap(), size });
        contents.insert(path, text);
    }
    let folder = Entry { kind: Kind::Dir, mode: 0o755, uid: 0, gid: 0, size: 0 };
    let paths: Vec<String> = entries.keys().cloned().collect();
    for (path, at) in paths.iter().flat_map(|path| path.match_indices('/').map(move |(at, _)| (path, at))) {
        entries.entry(path[..at].to_owned()).or_insert_with(|| folder.clone());
    }
    let mut tree = Tree::new(Box::new(Memory(contents)));
    entries.into_iter().for_each(|(path, entry)| tree.insert(path, entry));
    tree
}

fn unescape(text: &str) -> String {
    let text = text.replace("\\\\", "\u{2}").replace("\\n", "\n").replace("\\r", "\r");
    text.replace("\\u{0}", "\0").replace("\\u{1}", "\u{1}").replace('\u{2}', "\\")
}

/// Names of the lints that find something, each once.
fn found(tree: &Tree, context: &Context) -> Vec<&'static str> {
    let mut names: Vec<&str> = run(tree, context).unwrap().into_iter().map(|finding| finding.lint).collect();
    names.dedup();
    names
}

#[test]
fn a_good_tree_has_no_findings() {
    let findings = run(&tree(""), &Context::default()).unwrap();
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn every_lint_finds_what_it_is_for_and_nothing_else() {
    for (lint, changes) in BAD {
        assert_eq!(found(&tree(changes), &Context::default()), [*lint], "{changes}");
    }
}

#[test]
fn every_lint_is_tested() {
    for lint in LINTS {
        let tested = BAD.iter().any(|(id, _)| *id == lint.id) || OTHERWISE.contains(&lint.id);
        assert!(tested, "{}", lint.id);
    }
}

#[test]
fn names_that_are_not_text_are_found() {
    let mut tree = tree("");
    tree.insert_not_text("usr/lib/\u{fffd}".into());
    assert_eq!(found(&tree, &Context::default()), ["file-names"]);
}

#[test]
fn a_big_initramfs_is_found() {
    let mut tree = tree("");
    let path = "usr/lib/modules/6.1/initramfs.img";
    let entry = Entry { size: 200 << 20, ..tree.get(path).unwrap().clone() };
    tree.insert(path.into(), entry);
    assert_eq!(found(&tree, &Context::default()), ["boot-size"]);
}

#[test]
fn kernel_arguments_are_checked_one_by_one() {
    let kargs = ["quiet", "console=ttyS0", "console=tty0", "root=/dev/vda", "two words", "quiet"].map(str::to_owned);
    let findings = run(&tree(""), &Context { accounts: None, kargs: &kargs }).unwrap();
    let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the kernel argument `root=/dev/vda` is for the image to set",
            "the kernel argument `two words` is no single word",
            "the kernel argument `quiet` is there twice",
        ]
    );
}

#[test]
fn ids_are_compared_with_the_lock() {
    let locked = Accounts::parse("app:x:100:102::/:/bin/false\n", "app:x:101:\nnew:x:103:\n");
    let findings = run(&tree(""), &Context { accounts: Some(&locked), kargs: &[] }).unwrap();
    let messages: Vec<String> =
        findings.iter().map(|finding| format!("{} {}", finding.lint, finding.message)).collect();
    assert_eq!(
        messages,
        ["account-ids app is 100:101, and 100:102 in the lock", "account-ids new is not there, and 103 in the lock",]
    );
}

#[test]
fn many_findings_of_one_lint_are_counted() {
    let changes: String = (0..100).map(|n| format!("f 666 0:0 usr/lib/x{n} x\n")).collect();
    let findings = run(&tree(&changes), &Context::default()).unwrap();
    assert_eq!((findings.len(), findings[20].message.as_str()), (21, "and 80 more like these"));
}

#[test]
fn a_folder_and_a_commit_of_it_are_the_same_tree() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("tree");
    std::fs::create_dir_all(folder.join("usr/lib")).unwrap();
    std::fs::write(folder.join("usr/lib/file"), "content").unwrap();
    std::os::unix::fs::symlink("lib/file", folder.join("usr/link")).unwrap();
    let repo = ostree::Repo::new_for_path(dir.path().join("repo"));
    repo.create(ostree::RepoMode::Archive, gio::Cancellable::NONE).unwrap();
    let none = gio::Cancellable::NONE;
    let files = ostree::MutableTree::new();
    repo.prepare_transaction(none).unwrap();
    repo.write_directory_to_mtree(&gio::File::for_path(&folder), &files, None, none).unwrap();
    let root = repo.write_mtree(&files, none).unwrap();
    let root = root.downcast_ref::<ostree::RepoFile>().unwrap();
    let commit = repo.write_commit(None, None, None, None, root, none).unwrap();
    repo.commit_transaction(none).unwrap();
    let (folder, commit) = (Tree::from_folder(&folder).unwrap(), Tree::from_commit(&repo, &commit).unwrap());
    let all = |tree: &Tree| -> Vec<(String, Kind, u32, u32)> {
        tree.all().map(|(path, entry)| (path.to_owned(), entry.kind.clone(), entry.mode, entry.uid)).collect()
    };
    assert_eq!(all(&folder), all(&commit));
    assert_eq!(folder.text("usr/lib/file").unwrap(), commit.text("usr/lib/file").unwrap());
    assert_eq!(commit.start("usr/lib/file", 3).unwrap(), b"con");
    assert!(check(std::path::Path::new("/nonexistent"), &Context::default()).is_err());
}
