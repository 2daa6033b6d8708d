//! What `keelctl updates` and `keelctl health` say of a host that was told this and that.

use std::fs;

use serde_json::Value;

use crate::world::World;

/// `keelctl VERB WORDS --json` of a host that was told this; a host that is no node and has no checks of its own.
fn ask(world: &World, told: &str, verb: &str, words: &[&str]) -> (Value, Option<i32>) {
    let place = |name: &str| world.dir().join(name).to_string_lossy().into_owned();
    let (settings, state, none) = (place("update.toml"), place("state"), place("none"));
    fs::write(&settings, told).unwrap();
    let places = ["--settings", &settings, "--state", &state, "--config", &none, "--scripts", &none];
    let output = world.try_keelctl(&[&[verb], places.as_slice(), &["--json"], words].concat());
    let document = serde_json::from_slice(&output.stdout);
    (document.unwrap_or_else(|_| panic!("{output:?}")), output.status.code())
}

#[test]
fn the_next_step_is_told() {
    let world = World::new();
    let (document, _) = ask(&world, "", "updates", &[]);
    assert_eq!((&document["policy"], &document["next"]["step"]), (&"manual".into(), &"rest".into()), "{document}");
    let told = "[update]\npolicy = \"windows\"\nwindows = [{ start = \"02:00\", length = \"1h\" }]\n\
        lock = { fleetlock = \"https://locks.example/\" }\n";
    let (document, _) = ask(&world, told, "updates", &[]);
    assert_eq!((&document["policy"], &document["next"]["step"]), (&"windows".into(), &"check".into()), "{document}");
    assert_eq!(document["lock"]["url"], "https://locks.example", "{document}");
    let (plan, _) = ask(&world, told, "updates", &["apply", "--dry-run", "--now"]);
    let plan = plan["message"].as_str().unwrap();
    assert!(plan.contains("the lock of group default at https://locks.example is asked for"), "{plan}");
    let (failure, code) = ask(&world, "[update]\npolicy = \"windows\"\n", "updates", &[]);
    assert!(failure["error"]["message"].as_str().unwrap().contains("needs `windows`") && code == Some(1), "{failure}");
}

#[test]
fn a_host_without_systemd_is_not_healthy() {
    let mut world = World::new();
    let standing = |document: &Value, name: &str| {
        let checks = document["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).map(|check| check["standing"].clone())
    };
    let (document, code) = ask(&world, "", "health", &[]);
    assert_eq!((&document["healthy"], code), (&Value::Bool(false), Some(1)), "{document}");
    assert_eq!(standing(&document, "keeld"), Some("good".into()), "{document}");
    assert_eq!(standing(&document, "units"), Some("bad".into()), "{document}");
    world.kill_keeld();
    let (document, _) = ask(&world, "", "health", &[]);
    assert_eq!(standing(&document, "keeld"), Some("bad".into()), "{document}");
}
