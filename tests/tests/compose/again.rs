//! What a second compose gives: nothing when nothing changed, the same commit in another folder,
//! and one package more in the second version.

use std::fs;
use std::process::Command;

use keelson_common::command::CommandExt;
use keelson_tests::host;
use keelson_tests::keelson::Keelson;
use keelson_tests::{paths, repo};
use serde_json::Value;

#[test]
fn nothing_changed_makes_no_commit() {
    let version = &host::default_host().unwrap().v1;
    let before = repo::refs(&version.keelson.repo).unwrap();
    let again = version.keelson.compose(&version.manifest).unwrap();
    assert!(!again.changed);
    assert_eq!(again.checksum, version.composed.checksum);
    assert_eq!(repo::refs(&version.keelson.repo).unwrap(), before);
}

#[test]
fn same_lock_in_another_folder_is_the_same_commit() {
    let version = &host::default_host().unwrap().v1;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    Command::new("cp").arg("-a").arg(paths::workspace().join("manifests")).arg(dir.path()).run().unwrap();
    // Manifests name the workspace's own packages by a path relative to themselves.
    std::os::unix::fs::symlink(paths::workspace().join("target"), at("target")).unwrap();
    fs::write(at("same.toml"), "include = [\"manifests/host.toml\"]\n").unwrap();
    fs::copy(version.manifest.with_extension("lock"), at("same.lock")).unwrap();
    let composed = Keelson::cold(dir.path()).compose(&at("same.toml")).unwrap();
    assert!(composed.changed);
    assert_eq!(composed.checksum, version.composed.checksum);
}

#[test]
fn diff_names_the_one_new_package() {
    let host = host::default_host().unwrap();
    let (from, to) = (&host.v1.composed.checksum, &host.v2.composed.checksum);
    let diff = |words: &[&str]| {
        let mut all = vec!["diff", "--repo", host.v2.keelson.repo.to_str().unwrap()];
        all.extend(words);
        host.v2.keelson.run(&all).unwrap().expect(0).unwrap()
    };
    let document = diff(&["--json", from, to]).json().unwrap();
    let names = |key: &str| -> Vec<String> {
        let list = document["packages"][key].as_array().unwrap();
        list.iter().map(|package| package["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("added"), [host::EXTRA]);
    for key in ["removed", "upgraded", "downgraded"] {
        assert!(names(key).is_empty(), "{document}");
    }
    let text = diff(&[from, to]).stdout;
    assert!(text.contains(host::EXTRA) && text.contains("1.0"), "{text}");
    let same = diff(&["--json", from, from]).json().unwrap();
    assert_eq!(same["packages"]["added"], Value::Array(vec![]));
}
