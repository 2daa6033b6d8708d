//! keeld and keelctl against a real sysroot, repository and bus: upgrades, and what refuses them.

use crate::world::{Release, World, text};

const SECOND: Release<'_> = Release {
    name: crate::world::REF,
    version: "2",
    time: 1_700_100_000,
    packages: &[("base-files", "2"), ("tree", "2.2")],
    kargs: &["quiet", "loglevel=4", "panic=5"],
    signer: Some("gpg"),
};

#[test]
fn an_upgrade_from_check_to_history() {
    let world = World::new();
    let status = world.json(&["status"]);
    let first = &status["deployments"][0];
    assert_eq!((first["version"].as_str(), first["ref"].as_str()), (Some("1"), Some("keelson:keelson/host")));
    assert_eq!(first["signature"]["state"], "trusted");
    assert_eq!(first["signature"]["keys"][0]["fingerprint"], world.fingerprint("gpg"));
    assert_eq!(first["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(world.json(&["upgrade", "--check"])["update"]["state"], "up-to-date");

    let commit = world.publish(&SECOND);
    let check = world.json(&["upgrade", "--check"]);
    assert_eq!((&check["update"]["state"], &check["changed"]), (&"available".into(), &false.into()));
    assert_eq!(check["update"]["to"]["checksum"], commit.as_str());
    assert_eq!(check["update"]["packages"]["upgraded"][0]["name"], "base-files");
    assert_eq!(check["update"]["packages"]["added"][0]["name"], "tree");
    assert_eq!(check["update"]["packages"]["removed"][0]["name"], "nano");
    assert!(check["update"]["download"]["bytes"].as_u64().unwrap() > 0);
    let shown = world.keelctl(&["upgrade", "--check"]);
    assert!(shown.contains("2 is available") && shown.contains("base-files 1 -> 2"), "{shown}");

    world.keelctl(&["kargs", "--append", "mine", "--delete", "quiet"]);
    assert_eq!(world.keelctl(&["kargs"]).trim(), "root=LABEL=root loglevel=3 mine");
    assert_eq!(world.json(&["upgrade", "--download-only"])["changed"], true);
    assert_eq!(world.versions()[0], "1");
    assert!(world.keelctl(&["upgrade"]).contains("2 is deployed."));
    assert_eq!(world.versions()[0], "2");
    assert_eq!(world.keelctl(&["kargs"]).trim(), "root=LABEL=root loglevel=4 mine panic=5");
    assert_eq!(world.json(&["upgrade"])["changed"], false);

    let history = world.json(&["history"]);
    let events: Vec<&str> = history.as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["kargs", "downloaded", "upgraded"]);
    assert_eq!(history[2]["checksum"], commit.as_str());
}

#[test]
fn what_is_not_signed_by_a_trusted_key_is_refused() {
    let world = World::new();
    let before = (world.json(&["status"]), world.host_ref());
    let unsigned = world.publish(&Release { signer: None, ..SECOND });
    let said = world.refused(&["upgrade"]);
    assert!(said.contains(&format!("refused: commit {unsigned} is not signed")), "{said}");
    assert_eq!((world.json(&["status"]), world.host_ref()), before);

    world.make_key("foreign");
    let foreign = world.publish(&Release { signer: Some("foreign"), version: "3", ..SECOND });
    let said = world.refused(&["upgrade"]);
    let key = world.fingerprint("foreign");
    let id = &key[key.len() - 16..];
    assert!(said.contains(&foreign) && said.contains(id) && said.contains("does not trust"), "{said}");
    assert_eq!((world.json(&["status"]), world.host_ref()), before);

    let json = world.try_keelctl(&["upgrade", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json.status.code(), &document["error"]["kind"]), (Some(1), &"untrusted-key".into()));

    let key = world.dir().join("foreign.asc");
    world.keelctl(&["remote", "set", "--key", key.to_str().unwrap()]);
    let remotes = world.json(&["remote"]);
    assert_eq!(remotes[0]["keys"].as_array().map(Vec::len), Some(2), "{remotes}");
    world.keelctl(&["upgrade"]);
    assert_eq!(world.versions()[0], "3");
}

#[test]
fn a_tampered_object_is_refused_and_the_next_good_one_is_taken() {
    let world = World::new();
    let before = (world.json(&["status"]), world.host_ref());
    let commit = world.publish(&SECOND);
    let object = world.damage(&commit, "/usr/share/version");
    let said = world.refused(&["upgrade"]);
    assert!(said.contains("refused: an object the server sent for keelson:keelson/host"), "{said}");
    assert_eq!((world.json(&["status"]), world.host_ref()), before);
    std::fs::remove_file(object).unwrap();
    let good = world.publish(&Release { version: "2.1", time: SECOND.time + 1, ..SECOND });
    world.keelctl(&["upgrade"]);
    assert_eq!((world.versions()[0].as_str(), world.host_ref()), ("2.1", good));
}

#[test]
fn going_back_in_time_takes_a_flag() {
    let world = World::new();
    let before = world.host_ref();
    world.publish(&Release { time: 1_600_000_000, ..SECOND });
    assert_eq!(world.json(&["upgrade", "--check"])["update"]["state"], "older");
    let said = world.refused(&["upgrade"]);
    assert!(said.contains("is older than 1 (2023-11-14T22:13:20Z)"), "{said}");
    assert_eq!(world.host_ref(), before);
    world.keelctl(&["upgrade", "--allow-downgrade"]);
    assert_eq!(world.versions()[0], "2");
}

#[test]
fn a_full_disk_is_refused_before_anything_is_fetched() {
    let mut world = World::new();
    world.kill_keeld();
    world.configure("core.min-free-space-size", "900TB");
    world.start_keeld();
    let before = (world.json(&["status"]), world.host_ref());
    world.publish(&SECOND);
    let said = world.refused(&["upgrade"]);
    assert!(said.contains("not enough disk space on /sysroot") && said.contains("MiB free"), "{said}");
    assert_eq!((world.json(&["status"]), world.host_ref()), before);
}

#[test]
fn a_server_that_is_gone_is_named() {
    let world = World::new();
    world.keelctl(&["remote", "set", "--url", "http://127.0.0.1:9"]);
    let said = world.refused(&["upgrade", "--check"]);
    assert!(said.contains("cannot fetch keelson:keelson/host from http://127.0.0.1:9"), "{said}");
}

#[test]
fn a_static_delta_is_taken() {
    let world = World::new();
    let commit = world.publish(&SECOND);
    let repo = world.dir().join("repo");
    let delta = std::process::Command::new("ostree")
        .args(["static-delta", "generate", "--inline", crate::world::REF, "--repo"])
        .arg(&repo)
        .output()
        .unwrap();
    assert!(delta.status.success(), "{}", text(&delta.stderr));
    let summary = std::process::Command::new("ostree").args(["summary", "--update", "--repo"]).arg(&repo).output();
    assert!(summary.unwrap().status.success());
    // Without its loose object the commit can come by the delta only.
    std::fs::remove_file(world.damage(&commit, "/usr/share/version")).unwrap();
    world.keelctl(&["upgrade"]);
    assert_eq!(world.versions()[0], "2");
}
