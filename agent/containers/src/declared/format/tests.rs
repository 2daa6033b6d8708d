//! Tests of whole files: text in, declarations or problems out.

use std::io;
use std::path::Path;

use bollard::models::HostConfig;
use keelson_common::strict::Source;

use super::*;
use crate::declared::model::{Condition, Declaration, File, Policy};

fn read(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/etc/web.env") => Ok("A=1\nB=2\n".into()),
        Some("/etc/bad.env") => Ok("A\n".into()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn file(text: &str) -> File {
    parse(Source { path: "/etc/keelson/containers.d/web.toml".into(), text: text.into() }, &read).unwrap().unwrap()
}

fn one(text: &str) -> Declaration {
    file(text).containers.remove(0)
}

fn config(text: &str) -> HostConfig {
    one(text).body.host_config.unwrap()
}

/// What is wrong, without the folder.
fn wrong(text: &str) -> String {
    let problems = parse(Source { path: "web.toml".into(), text: text.into() }, &read).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_least_is_an_image() {
    let web = one("[[container]]\nimage = 'nginx'\n");
    assert_eq!((web.name.as_str(), web.owner().as_str()), ("web", "web.toml/web"));
    assert!(web.enabled && web.update.is_none() && web.group.is_none());
    assert_eq!(web.restart.policy, Policy::Always);
    assert_eq!(web.body.host_config.unwrap().network_mode.as_deref(), Some("bridge"));
    assert_eq!(parse(Source { path: "x.toml".into(), text: "# nothing\n".into() }, &read), Ok(None));
}

#[test]
fn a_whole_container_becomes_a_body() {
    let text = r#"
[[container]]
name = "shop"
image = "registry.example/shop:1"
command = ["serve", "--all"]
environment = { B = "3", C = "x=y" }
env-files = ["/etc/web.env"]
ports = ["8080:80", "53:53/udp"]
volumes = ["data:/data", "/srv:/srv:ro"]
mounts = [{ type = "tmpfs", target = "/cache", size = "1M", mode = "700" }]
tmpfs = ["/tmp:size=1m"]
read-only = true
cap-add = ["NET_ADMIN"]
stop-timeout = "30s"
after = ["log"]
requires = { db = "healthy", migrate = "completed" }
links = ["cache:redis"]
resources = { memory = "256M", cpus = 1.5, pids = 100 }
restart = { policy = "on-failure", retries = 3, delay = "2s", max-delay = "1m" }
health = { shell = "wget -q -O- localhost", interval = "5s", retries = 2, on-unhealthy = "restart" }
update = { follow = "tag", interval = "1h", window = "Sun 02:00-04:00" }
"#;
    let shop = one(text);
    let body = shop.body.clone();
    let host = body.host_config.unwrap();
    assert_eq!(body.env.unwrap(), ["A=1", "B=3", "C=x=y"]);
    assert_eq!(body.cmd.unwrap(), ["serve", "--all"]);
    assert_eq!(body.stop_timeout, Some(30));
    assert_eq!(host.port_bindings.unwrap().len(), 2);
    assert_eq!(host.binds.unwrap(), ["data:/data", "/srv:/srv:ro"]);
    assert_eq!(host.mounts.unwrap()[0].tmpfs_options.as_ref().unwrap().mode, Some(0o700));
    assert_eq!((host.memory, host.nano_cpus, host.pids_limit), (Some(256 << 20), Some(1_500_000_000), Some(100)));
    let health = body.healthcheck.unwrap();
    assert_eq!(health.test.unwrap(), ["CMD-SHELL", "wget -q -O- localhost"]);
    assert_eq!(health.interval, Some(5_000_000_000));
    assert!(shop.restart_unhealthy);
    assert_eq!(shop.requires["db"], Condition::Healthy);
    assert_eq!(shop.requires["cache"], Condition::Started);
    assert_eq!((shop.restart.policy, shop.restart.retries), (Policy::OnFailure, Some(3)));
    assert_eq!(shop.update.unwrap().interval.as_secs(), 3600);
}

#[test]
fn a_group_shares_network_volumes_and_environment() {
    let text = r#"
[group]
ports = ["80:80"]
volumes = ["shared:/shared"]
environment = { A = "group", B = "group" }
[[container]]
name = "app"
image = "app"
environment = { A = "own" }
[[container]]
name = "proxy"
image = "proxy"
"#;
    let file = file(text);
    let group = file.group.unwrap();
    assert_eq!((group.name.as_str(), group.network.as_str(), group.ports.len()), ("web", "bridge", 1));
    let app = &file.containers[0];
    let host = app.body.host_config.as_ref().unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("group:web"));
    assert_eq!(host.binds.as_ref().unwrap(), &["shared:/shared"]);
    assert_eq!(app.body.env.as_ref().unwrap(), &["A=own", "B=group"]);
    let host = config("[group]\nnetwork = 'host'\n[[container]]\nname = 'app'\nimage = 'app'\n");
    assert_eq!(host.network_mode.as_deref(), Some("host"));
}

#[test]
fn the_hash_is_of_what_needs_a_new_container() {
    let of =
        |more: &str| one(&format!("[[container]]\nimage = 'nginx:1'\nlabels = {{ a = '1', b = '2' }}\n{more}")).hash;
    let base = of("");
    assert_eq!(base, of("restart = { policy = 'no' }\nafter = ['db']\nupdate = { follow = 'tag' }"));
    assert_eq!(base, of(""));
    assert_ne!(base, of("environment = { A = '1' }"));
    assert_ne!(base, of("resources = { memory = '1G' }"));
    assert_ne!(base, one("[[container]]\nimage = 'nginx:2'\nlabels = { a = '1', b = '2' }").hash);
}

#[test]
fn unknown_keys_name_the_nearest_one() {
    assert_eq!(
        wrong("[[container]]\nimage = 'x'\nvolume = []\n"),
        "web.toml:3:1: unknown key `volume` in [[container]]; did you mean `volumes`?"
    );
    assert_eq!(
        wrong("[[container]]\nimage = 'x'\n[container.health]\nretrys = 1\n"),
        "web.toml:4:1: unknown key `retrys` in [container.health]; did you mean `retries`?"
    );
    assert_eq!(wrong("[[container]]\nname = 'web'\n"), "web.toml:1:1: the key `image` is missing in [[container]]");
    assert_eq!(wrong("[[contaner]]\n"), "web.toml:1:3: unknown key `contaner`; did you mean `container`?");
}

#[test]
fn wrong_values_are_told_all_at_once_with_their_line() {
    let text = "[[container]]\nimage = 'x'\nports = ['80:x']\nnetwork = 'brige'\nstop-timeout = '30'\nrequires = { db = 'up' }\n";
    let told = wrong(text);
    for line in [
        "web.toml:3:10: invalid port `80:x`",
        "web.toml:4:11: `brige` is no network",
        "web.toml:5:16: `30` is no length of time",
        "web.toml:6:19: `up` is no condition",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (text, part) in [
        ("[group]\n", "the group has no [[container]]"),
        ("[group]\n[[container]]\nimage='x'\nports=['80']\n", "`ports` belongs in [group]"),
        ("[[container]]\nimage='x'\n[[container]]\nname='bb'\nimage='x'\n", "the key `name` is missing"),
        ("[[container]]\nname='bb'\nimage='x'\n[[container]]\nname='bb'\nimage='x'\n", "declares `bb` twice"),
        ("[[container]]\nimage='X Y'\n", "`X Y` is no image"),
        ("[[container]]\nimage='x'\nrequires={web='started'}\n", "cannot wait for itself"),
        ("[[container]]\nimage='x'\nenv-files=['/etc/bad.env']\n", "/etc/bad.env: line 1 is not KEY=VALUE"),
        ("[[container]]\nimage='x'\nenv-files=['/none']\n", "cannot read /none"),
        ("[[container]]\nimage='x'\nvolumes=['a b:/x']\n", "neither a path from / nor a volume's name"),
        ("[[container]]\nimage='x'\nmounts=[{type='bind',target='/x'}]\n", "the key `source` is missing"),
        ("[[container]]\nimage='x'\nnetwork='host'\nports=['80']\n", "not on `host`"),
        ("[[container]]\nimage='x'\nlabels={'org.keelson.x'='1'}\n", "not for declarations to set"),
        ("[[container]]\nimage='x'\nresources={cpus=0.0}\n", "number of processors"),
        ("[[container]]\nimage='x'\nhealth={command=['a'],shell='b'}\n", "has one of"),
        ("[[container]]\nimage='x'\nupdate={follow='tag',interval='1s'}\n", "once a minute at most"),
        (&format!("[[container]]\nimage='x@sha256:{}'\nupdate={{follow='tag'}}\n", "0".repeat(64)), "is pinned"),
    ] {
        assert!(wrong(text).contains(part), "{part}\n{}", wrong(text));
    }
}

/// The examples of the manual page are files that work.
#[test]
fn the_manual_pages_examples_are_good() {
    let page = include_str!("../../../../debian/man/keelson-containers.5");
    let examples: Vec<&str> = page.split(".RS\n").skip(1).filter_map(|rest| rest.split(".RE\n").next()).collect();
    assert_eq!(examples.len(), 3);
    for example in &examples[..2] {
        let read = |_: &Path| Ok("A=1\n".to_owned());
        let source = Source { path: "web.toml".into(), text: (*example).to_owned() };
        assert!(parse(source, &read).is_ok_and(|file| file.is_some()), "{example}");
    }
}
