//! Tests of the comparison: of trees in memory, and of real commits made by the `ostree` command.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use keelson_common::command::CommandExt;
use tempfile::TempDir;

use super::tree::{Folder, Item, Items, Sum, compare};
use super::*;

#[derive(Default)]
struct Store {
    folders: HashMap<Sum, Items>,
    loaded: Vec<Sum>,
}

impl Store {
    fn folder(&mut self, id: u8, items: &[(&str, Item)]) -> Folder {
        let items = items.iter().map(|(name, item)| ((*name).to_owned(), *item)).collect();
        self.folders.insert([id; 32], items);
        Folder { content: [id; 32], meta: [0; 32] }
    }

    fn compare(&mut self, old: Folder, new: Folder) -> Vec<String> {
        let Self { folders, loaded } = self;
        let mut load = |sum: &Sum| {
            loaded.push(*sum);
            folders.get(sum).cloned().ok_or("not stored")
        };
        let changes = compare(old, new, &mut load).unwrap();
        changes.into_iter().map(|change| format!("{:?} {}", change.kind, change.path)).collect()
    }
}

#[test]
fn equal_folders_are_not_loaded() {
    let mut store = Store::default();
    let same = Folder { content: [9; 32], meta: [0; 32] };
    let old = store.folder(1, &[("a", Item::File([1; 32])), ("same", Item::Folder(same))]);
    let new = store.folder(2, &[("a", Item::File([2; 32])), ("same", Item::Folder(same))]);
    assert_eq!(store.compare(old, new), ["Changed /a"]);
    assert_eq!(store.loaded, [[1; 32], [2; 32]]);
}

#[test]
fn folders_of_one_side_list_their_files() {
    let mut store = Store::default();
    let empty = store.folder(3, &[]);
    let full = store.folder(4, &[("f", Item::File([1; 32])), ("empty", Item::Folder(empty))]);
    let old = store.folder(1, &[("x", Item::File([1; 32])), ("gone", Item::Folder(full))]);
    let new = store.folder(2, &[("x", Item::Folder(full))]);
    assert_eq!(
        store.compare(old, new),
        ["Removed /x", "Added /x/empty/", "Added /x/f", "Removed /gone/empty/", "Removed /gone/f"]
    );
}

#[test]
fn a_folders_mode_is_a_change_of_the_folder() {
    let mut store = Store::default();
    let inner = store.folder(3, &[]);
    let old = store.folder(1, &[("d", Item::Folder(inner))]);
    let new = store.folder(2, &[("d", Item::Folder(Folder { meta: [7; 32], ..inner }))]);
    assert_eq!(store.compare(old, new), ["Changed /d/"]);
}

/// A repository with two commits of `keelson/test`, one package upgraded between them.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        world.ostree(&["init", "--mode=archive"]);
        world.write("usr/bin/tool", "1");
        world.write("usr/bin/stays", "1");
        world.write("usr/etc/stays.conf", "a");
        world.write("usr/share/site", "1");
        world.packages(&[("tool", "1.0"), ("stays", "2.0")]);
        world.write("usr/lib/sysimage/dpkg/info/tool.list", "/.\n/usr\n/usr/bin\n/usr/bin/tool\n");
        world.write("usr/lib/sysimage/dpkg/info/stays:amd64.list", "/usr/bin/stays\n/etc/stays.conf\n");
        world.commit("1");
        world.write("usr/bin/tool", "2");
        world.write("usr/etc/stays.conf", "b");
        world.write("usr/share/site", "2");
        world.write("usr/share/new/file", "x");
        world.packages(&[("tool", "1.1"), ("stays", "2.0")]);
        world.commit("2");
        world
    }

    fn tree(&self) -> std::path::PathBuf {
        self.dir.path().join("tree")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.tree().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn packages(&self, packages: &[(&str, &str)]) {
        let stanza = |(name, version): &(&str, &str)| {
            format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\n\n")
        };
        self.write("usr/lib/sysimage/dpkg/status", &packages.iter().map(stanza).collect::<String>());
    }

    fn repo(&self) -> std::path::PathBuf {
        self.dir.path().join("repo")
    }

    fn ostree(&self, args: &[&str]) {
        let (verb, rest) = args.split_first().unwrap();
        fs::create_dir_all(self.repo()).unwrap();
        Command::new("ostree").arg(verb).arg("--repo").arg(self.repo()).args(rest).run().unwrap();
    }

    fn commit(&self, version: &str) {
        let tree = self.tree();
        let version = format!("--add-metadata-string=version={version}");
        self.ostree(&["commit", "-b", "keelson/test", "--owner-uid=0", &version, tree.to_str().unwrap()]);
    }

    fn diff(&self, from: &str, to: &str) -> Diff {
        between(&open(&self.repo()).unwrap(), from, to).unwrap()
    }
}

fn paths(diff: &Diff) -> Vec<String> {
    let owner = |file: &FileChange| file.package.as_ref().map(|package| format!(" ({package})")).unwrap_or_default();
    diff.files.iter().map(|file| format!("{:?} {}{}", file.change, file.path, owner(file))).collect()
}

#[test]
fn files_of_changed_packages_are_left_out() {
    let world = World::new();
    let diff = world.diff("keelson/test^", "keelson/test");
    assert_eq!(diff.packages.upgraded.len(), 1);
    assert_eq!((diff.packages.upgraded[0].from.as_str(), diff.packages.upgraded[0].to.as_str()), ("1.0", "1.1"));
    assert_eq!(
        paths(&diff),
        ["Changed /usr/etc/stays.conf (stays)", "Added /usr/share/new/file", "Changed /usr/share/site"]
    );
    assert_eq!((diff.from.version.as_deref(), diff.to.version.as_deref()), (Some("1"), Some("2")));
    let text = diff.to_string();
    assert!(text.contains("Upgraded:\n  tool 1.0 -> 1.1\n"), "{text}");
    assert!(text.contains("Changed files:\n  /usr/etc/stays.conf (of stays)\n  /usr/share/site\n"), "{text}");
    let back = world.diff("keelson/test", "keelson/test^");
    assert_eq!(back.packages.downgraded.len(), 1);
}

#[test]
fn revisions_are_refs_checksums_and_their_beginnings() {
    let world = World::new();
    let checksum = world.diff("keelson/test", "keelson/test").to.checksum;
    let diff = world.diff(&checksum[..10], &checksum);
    assert!(diff.is_empty());
    assert!(diff.to_string().ends_with("The same packages and the same files.\n"));
    let repo = open(&world.repo()).unwrap();
    let unknown = |revision: &str| between(&repo, revision, "keelson/test").unwrap_err().to_string();
    assert_eq!(unknown("keelson/tset"), "there is no commit `keelson/tset`; refs: keelson/test");
    assert!(unknown(&"a".repeat(64)).starts_with("there is no commit `aaa"));
    assert!(unknown("keelson/test^^^").starts_with("there is no commit"));
}

#[test]
fn a_changed_mode_is_seen() {
    let world = World::new();
    fs::set_permissions(world.tree().join("usr/share/site"), fs::Permissions::from_mode(0o600)).unwrap();
    world.commit("3");
    assert_eq!(paths(&world.diff("keelson/test^", "keelson/test")), ["Changed /usr/share/site"]);
}

#[test]
fn a_folder_that_is_no_repository_has_a_remedy() {
    let error = open(Path::new("/no/such/repo")).unwrap_err().to_string();
    assert_eq!(error, "/no/such/repo is no OSTree repository: `keelson compose --repo /no/such/repo` makes one");
}
