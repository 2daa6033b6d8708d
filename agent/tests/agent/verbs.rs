//! keeld and keelctl against a real sysroot, repository and bus: every verb beside upgrade, and
//! several clients at once.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::world::{Release, World, text};

fn second() -> Release<'static> {
    Release { version: "2", time: 1_700_100_000, ..Release::default() }
}

#[test]
fn rollback_goes_there_and_back() {
    let world = World::new();
    assert!(world.refused(&["rollback"]).contains("no other deployment"));
    world.publish(&second());
    world.keelctl(&["upgrade"]);
    assert_eq!(world.versions(), ["2", "1"]);
    assert!(world.keelctl(&["rollback"]).contains("1 runs after a reboot"));
    assert_eq!(world.versions(), ["1", "2"]);
    world.keelctl(&["rollback"]);
    assert_eq!(world.versions(), ["2", "1"]);
    assert_eq!(world.json(&["status"])["rollback"]["version"], "1");
}

#[test]
fn what_is_pinned_stays_and_what_is_not_goes() {
    let world = World::new();
    world.publish(&second());
    world.keelctl(&["upgrade"]);
    world.keelctl(&["pin", "1"]);
    assert_eq!(world.json(&["status"])["deployments"][1]["pinned"], true);
    assert!(world.refused(&["cleanup", "--rollback"]).contains("deployment 1 is pinned"));
    assert!(world.refused(&["pin", "7"]).contains("lists 0 to 1"));
    world.publish(&Release { version: "3", time: 1_700_200_000, ..Release::default() });
    world.keelctl(&["upgrade"]);
    assert_eq!(world.versions(), ["3", "2", "1"]);
    assert!(world.keelctl(&["unpin", "2"]).contains("no longer pinned"));
    let cleanup = world.json(&["cleanup", "--rollback"]);
    assert_eq!((&cleanup["changed"], cleanup["freed"].is_u64()), (&true.into(), true));
    assert_eq!(world.versions(), ["3", "1"]);
}

#[test]
fn a_rebase_that_fails_leaves_the_remote_as_it_was() {
    let world = World::new();
    let before = (world.json(&["remote"]), world.json(&["status"]));
    world.make_key("other");
    let key = world.dir().join("other.asc");
    let key = key.to_str().unwrap();
    let url = world.server.url() + "/";
    let args = ["rebase", "keelson/none", "--remote-url", &url, "--key", key, "--replace-keys"];
    assert!(world.refused(&args).contains("cannot fetch keelson:keelson/none"));
    assert_eq!((world.json(&["remote"]), world.json(&["status"])), before);

    world.publish(&Release { name: "keelson/next", signer: Some("other"), version: "next", ..second() });
    assert!(world.refused(&["rebase", "keelson/next"]).contains("does not trust"));
    world.keelctl(&["rebase", "keelson/next", "--key", key]);
    let status = world.json(&["status"]);
    assert_eq!(status["deployments"][0]["ref"], "keelson:keelson/next");
    assert_eq!(world.versions(), ["next", "1"]);
    assert!(world.refused(&["rebase", "no good"]).contains("is not a ref"));
}

#[test]
fn a_key_file_without_a_key_is_refused_and_nothing_is_changed() {
    let world = World::new();
    let before = world.json(&["remote"]);
    let file = world.dir().join("no-key");
    std::fs::write(&file, "nothing").unwrap();
    let (file, url) = (file.to_str().unwrap(), world.server.url() + "/");
    let set = ["remote", "set", "--url", &url, "--key", file];
    let rebase = ["rebase", "keelson/host", "--remote-url", &url, "--key", file];
    for words in [&["remote", "set", "--key", file][..], &set, &rebase] {
        assert!(world.refused(words).contains("holds no OpenPGP public key"), "{words:?}");
        assert_eq!(world.json(&["remote"]), before, "{words:?}");
    }
}

#[test]
fn a_key_is_trusted_no_more_and_no_failure_takes_one_away() {
    let world = World::new();
    world.make_key("other");
    world.keelctl(&["remote", "set", "--key", world.dir().join("other.asc").to_str().unwrap()]);
    let keys = |world: &World| world.json(&["remote"])[0]["keys"].clone();
    let (ours, other) = (world.fingerprint("gpg"), world.fingerprint("other"));
    assert_eq!(keys(&world).as_array().map(Vec::len), Some(2));
    let none = "0".repeat(40);
    assert!(world.refused(&["remote", "set", "--forget-key", &none]).contains("no key 0000"));
    let file = world.dir().join("no-key");
    std::fs::write(&file, "nothing").unwrap();
    world.refused(&["remote", "set", "--replace-keys", "--key", file.to_str().unwrap()]);
    assert_eq!(keys(&world).as_array().map(Vec::len), Some(2));

    world.keelctl(&["remote", "set", "--forget-key", &ours]);
    assert_eq!(keys(&world), serde_json::json!([other]));
    world.publish(&second());
    assert!(world.refused(&["upgrade"]).contains("does not trust"));
    world.publish(&Release { signer: Some("other"), version: "3", ..second() });
    world.keelctl(&["upgrade"]);
    assert_eq!(world.versions(), ["3", "1"]);

    world.keelctl(&["remote", "set", "--replace-keys", "--key", world.dir().join("gpg.asc").to_str().unwrap()]);
    assert_eq!(keys(&world), serde_json::json!([ours]));
}

#[test]
fn a_second_client_is_told_what_runs_or_joins_it() {
    let world = World::new();
    world.publish(&second());
    world.server.shut_gate();
    let mut first = world.command(&["upgrade"]).stdout(Stdio::null()).spawn().unwrap();
    let downloading = |world: &World| world.json(&["status"])["transaction"]["progress"]["phase"] == "downloading";
    world.wait_for("the download", downloading);
    let said = world.refused(&["rollback"]);
    assert!(said.contains("busy: an upgrade is running (started by uid 0 at"), "{said}");
    assert!(world.keelctl(&["status"]).contains("Running: an upgrade, Downloading"));

    // The one that asked is killed; the upgrade goes on, and another client follows it.
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(downloading(&world));
    let mut follower = world.command(&["upgrade"]);
    let mut follower = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(follower.stderr.take().unwrap());
    let mut told = String::new();
    // The upgrade ends once the gate is open: nobody could follow it any more.
    while !told.contains("Following the upgrade that uid 0 started") {
        assert!(said.read_line(&mut told).unwrap() > 0, "it does not follow: {told}");
    }
    world.server.open_gate();
    said.read_to_string(&mut told).unwrap();
    let output = follower.wait_with_output().unwrap();
    assert!(output.status.success(), "{told}");
    assert!(text(&output.stdout).contains("2 is deployed."));
    assert_eq!(world.versions(), ["2", "1"]);
}

#[test]
fn a_keeld_that_was_killed_goes_on_where_it_was() {
    let mut world = World::new();
    let before = world.versions();
    world.publish(&second());
    world.server.shut_gate();
    let client = world.command(&["upgrade"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    world
        .wait_for("the download", |world| world.json(&["status"])["transaction"]["progress"]["phase"] == "downloading");
    world.kill_keeld();
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("keeld ended before it was done"), "{}", text(&output.stderr));
    world.server.open_gate();
    world.start_keeld();
    assert_eq!(world.versions(), before);
    world.keelctl(&["upgrade"]);
    assert_eq!(world.versions(), ["2", "1"]);
}

#[test]
fn keeld_ends_with_its_bus_to_be_started_on_the_next() {
    let mut world = World::new();
    assert_eq!(world.restart_bus().code(), Some(1));
    world.start_keeld();
    assert_eq!(world.versions(), ["1"]);
}

#[test]
fn reading_needs_no_privilege_and_changing_does() {
    let world = World::new();
    let as_nobody = |args: &[&str]| {
        let mut command: Command = world.command(args);
        command.uid(65534).gid(65534).current_dir("/");
        command.output()
    };
    let status = as_nobody(&["status", "--json"]).unwrap();
    assert!(status.status.success(), "{}", text(&status.stderr));
    assert!(as_nobody(&["history"]).unwrap().status.success());
    for change in [&["upgrade"][..], &["rollback"], &["pin", "0"], &["kargs", "--append", "x"], &["cleanup"]] {
        let output = as_nobody(change).unwrap();
        assert_eq!(output.status.code(), Some(1), "{change:?}");
        assert!(text(&output.stderr).contains("only root may have"), "{}", text(&output.stderr));
    }
    assert_eq!(world.versions(), ["1"]);
}

#[test]
fn kernel_arguments_that_make_no_sense_are_refused() {
    let world = World::new();
    assert!(world.refused(&["kargs", "--delete", "nope"]).contains("`nope` is not set"));
    assert!(world.refused(&["kargs", "--append", "ostree=/x"]).contains("is not a kernel argument"));
    let shown = world.json(&["kargs"]);
    assert_eq!(shown["next"], serde_json::json!(["root=LABEL=root", "quiet", "loglevel=3"]));
}

#[test]
fn wrong_usage_exits_with_two() {
    for args in [&["pin"][..], &["no-such-verb"], &["upgrade", "--check", "--reboot"], &["remote", "set"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_keelctl")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn elsewhere_than_on_a_host_it_says_so() {
    let mut world = World::new();
    world.kill_keeld();
    let said = world.refused(&["status"]);
    let expected = match std::path::Path::new("/run/ostree-booted").exists() {
        true => "keeld does not run",
        false => "was not booted from an OSTree deployment",
    };
    assert!(said.contains(expected), "{said}");
    let keeld = Command::new(env!("CARGO_BIN_EXE_keeld")).args(["--bus", "unix:path=/nowhere"]).output().unwrap();
    assert_eq!(keeld.status.code(), Some(1));
}
