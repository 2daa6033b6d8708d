//! Images between registries, archives and the content store, as the stock `docker` client, `skopeo`
//! and `ctr` see them; and that what goes wrong is told and leaves nothing behind.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use keelson_common::command::CommandExt;
use keelson_tests::containers::{ContainerHost, Registry, RegistryKind, TestImage};
use serde_json::{Value, json};

/// An image that can be told from others.
fn image(reference: &str) -> TestImage {
    TestImage::busybox(reference).file("etc/release", 0o644, "one\n").set("Labels", json!({ "of": "a test" }))
}

/// `docker WORDS`, which must succeed; what it printed.
fn docker(host: &ContainerHost, words: &[&str]) -> Result<String> {
    Ok(host.docker(words)?.expect(0)?.stdout.trim_end().to_owned())
}

/// `docker WORDS`, which must fail and say all of `said`.
fn refused(host: &ContainerHost, words: &[&str], said: &[&str]) -> Result<()> {
    let run = host.docker(words)?;
    ensure!(run.code != Some(0), "docker {words:?} succeeded");
    for part in said {
        ensure!(run.stderr.contains(part), "docker {words:?} does not say {part:?}: {}", run.stderr);
    }
    Ok(())
}

/// What containerd keeps: blobs, unfinished blobs, snapshots, leases.
fn kept(host: &ContainerHost) -> Result<String> {
    let lists = [&["content", "ls", "-q"][..], &["content", "active"], &["snapshots", "ls"], &["leases", "ls", "-q"]];
    let lists = lists.iter().map(|words| host.ctr(words)).collect::<Result<Vec<_>>>()?;
    Ok(lists.join("--\n"))
}

fn inspect(host: &ContainerHost, name: &str) -> Result<Value> {
    let mut all: Value = serde_json::from_str(&docker(host, &["image", "inspect", name])?)?;
    Ok(all[0].take())
}

#[test]
fn a_secure_registry_wants_trust_and_credentials() -> Result<()> {
    let host = ContainerHost::start()?;
    let registry = Registry::start(&host, RegistryKind::Secure, 5000)?;
    registry.put(&host, &image("app:1"), "team/app:1")?;
    let name = format!("{}/team/app:1", registry.address());
    let empty = kept(&host)?;
    refused(&host, &["pull", &name], &["unknown authority", &registry.address(), "ca.crt"])?;
    registry.trust(&host)?;
    refused(&host, &["pull", &name], &["unauthorized", "keelctl login"])?;
    refused(&host, &["login", "-u", Registry::USER, "-p", "wrong", &registry.address()], &["unauthorized"])?;
    ensure!(kept(&host)? == empty, "a refused pull left {}", kept(&host)?);

    docker(&host, &["login", "-u", Registry::USER, "-p", Registry::PASSWORD, &registry.address()])?;
    let pulled = docker(&host, &["pull", &name])?;
    for line in
        ["1: Pulling from team/app", "Pulling fs layer", "Pull complete", "Digest: sha256:", "Downloaded newer image"]
    {
        ensure!(pulled.contains(line), "no {line:?} in {pulled}");
    }
    ensure!(docker(&host, &["pull", &name])?.contains("Image is up to date"));
    ensure!(docker(&host, &["run", "--rm", "--network", "none", &name, "cat", "/etc/release"])? == "one");

    let digest = inspect(&host, &name)?["RepoDigests"][0].as_str().unwrap_or_default().to_owned();
    docker(&host, &["rmi", &name])?;
    ensure!(kept(&host)? == empty, "a removed image left {}", kept(&host)?);
    docker(&host, &["pull", &digest])?;
    docker(&host, &["image", "prune", "-f"])?;
    ensure!(inspect(&host, &digest)?["RepoDigests"] == json!([digest]), "a digest is as good as a tag");
    refused(&host, &["pull", &format!("{}/team/app:2", registry.address())], &["manifest unknown"])
}

#[test]
fn what_is_pushed_can_be_pulled_by_others() -> Result<()> {
    let host = ContainerHost::start()?;
    let registry = Registry::start(&host, RegistryKind::Plain, 5000)?;
    let name = format!("{}/pushed:1", registry.loopback());
    let archive = host.archive(&image("app:1"))?;
    ensure!(docker(&host, &["load", "-i", &archive.to_string_lossy()])? == "Loaded image: app:1");
    docker(&host, &["tag", "app:1", &name])?;
    let pushed = docker(&host, &["push", &name])?;
    ensure!(pushed.contains("Pushed") && pushed.contains("1: digest: sha256:"), "{pushed}");
    ensure!(docker(&host, &["push", &name])?.contains("Layer already exists"));
    let mut skopeo = host.namespace().command("skopeo");
    let seen = skopeo.args(["inspect", "--tls-verify=false", &format!("docker://{name}")]).output_text()?;
    ensure!(serde_json::from_str::<Value>(&seen)?["Labels"]["of"] == "a test", "{seen}");
    // Plain HTTP is for loopback, and where it is configured.
    let other = format!("{}/pushed:1", registry.address());
    refused(&host, &["pull", &other], &["does not speak TLS", "hosts.toml"])?;
    registry.describe(&host, &registry.address(), &format!("server = \"http://{}\"\n", registry.address()))?;
    docker(&host, &["pull", &other]).map(drop)
}

#[test]
fn a_dead_registry_and_a_wrong_digest_are_told_and_leave_nothing() -> Result<()> {
    let host = ContainerHost::start()?;
    let mut registry = Registry::start(&host, RegistryKind::Plain, 5000)?;
    registry.put(&host, &image("app:1").file("big", 0o644, vec![7; 1 << 20]), "app:1")?;
    let name = format!("{}/app:1", registry.loopback());
    let empty = kept(&host)?;
    registry.tamper()?;
    refused(&host, &["pull", &name], &["wrong digest", "sha256:"])?;
    ensure!(kept(&host)? == empty, "a wrong digest left {}", kept(&host)?);
    registry.stop()?;
    refused(&host, &["pull", &name], &[&registry.loopback(), "connection refused"])?;
    refused(&host, &["pull", "registry.invalid/app"], &["registry.invalid", "cannot be reached"])?;
    ensure!(kept(&host)? == empty, "a dead registry left {}", kept(&host)?);
    Ok(())
}

#[test]
fn mirrors_are_asked_first() -> Result<()> {
    let host = ContainerHost::start()?;
    let mirror = Registry::start(&host, RegistryKind::Plain, 5000)?;
    mirror.put(&host, &image("app:1"), "team/app:1")?;
    let hosts = format!(
        "server = \"https://registry.invalid\"\n[host.\"http://127.0.0.1:9\"]\n[host.\"http://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        mirror.address()
    );
    mirror.describe(&host, "registry.invalid", &hosts)?;
    docker(&host, &["pull", "registry.invalid/team/app:1"])?;
    ensure!(docker(&host, &["images", "--format", "{{.Repository}}:{{.Tag}}"])? == "registry.invalid/team/app:1");
    refused(&host, &["pull", "registry.invalid/team/app:2"], &["registry.invalid"])
}

#[test]
fn archives_go_out_and_come_back() -> Result<()> {
    let host = ContainerHost::start()?;
    let empty = kept(&host)?;
    let archive = host.archive(&image("app:1"))?;
    docker(&host, &["load", "-i", &archive.to_string_lossy()])?;
    let id = inspect(&host, "app:1")?["Id"].as_str().unwrap_or_default().to_owned();
    docker(&host, &["tag", "app:1", "other:2"])?;
    let saved = host.folder().join("saved.tar");
    let path = saved.to_string_lossy();
    docker(&host, &["save", "-o", &path, "app:1", "other:2"])?;
    docker(&host, &["rmi", "app:1", "other:2"])?;
    ensure!(kept(&host)? == empty, "removed images left {}", kept(&host)?);

    let seen =
        Command::new("skopeo").args(["inspect", "--config", &format!("docker-archive:{path}:app:1")]).output_text()?;
    ensure!(seen.contains("a test"), "{seen}");
    host.ctr(&["images", "import", "--no-unpack", &path])?;
    ensure!(host.ctr(&["images", "ls", "-q"])?.contains("docker.io/library/app:1"));
    host.ctr(&["images", "rm", "--sync", "docker.io/library/app:1", "docker.io/library/other:2"])?;
    Command::new("gzip").arg(&saved).run()?;
    let loaded = docker(&host, &["load", "-q", "-i", &format!("{path}.gz")])?;
    ensure!(loaded.contains("Loaded image: app:1") && loaded.contains("Loaded image: other:2"), "{loaded}");
    ensure!(inspect(&host, "other:2")?["Id"] == id.as_str());
    fs::write(&saved, "no tar at all, and not of the length of one")?;
    refused(&host, &["load", "-i", &path], &["archive"])
}

#[test]
fn removing_is_as_careful_as_docker() -> Result<()> {
    let host = ContainerHost::start()?;
    let empty = kept(&host)?;
    host.load(&image("app:1"))?;
    docker(&host, &["tag", "app:1", "elsewhere/app:1"])?;
    let id = docker(&host, &["images", "-q", "app:1"])?;
    refused(&host, &["rmi", &id], &["must be forced", "multiple repositories"])?;
    ensure!(docker(&host, &["rmi", "elsewhere/app:1"])? == "Untagged: elsewhere/app:1");
    docker(&host, &["create", "--name", "user", "--network", "none", "app:1"])?;
    refused(&host, &["rmi", "app:1"], &["conflict: unable to remove repository reference \"app:1\" (must force)"])?;
    docker(&host, &["rm", "user"])?;
    ensure!(docker(&host, &["rmi", &id])?.contains("Deleted: sha256:"));
    refused(&host, &["rmi", "app:1"], &["No such image: app:1"])?;
    ensure!(kept(&host)? == empty, "a removed image left {}", kept(&host)?);

    // A name that moves on leaves its old image without one, until a prune.
    host.load(&image("app:1"))?;
    docker(&host, &["load", "-i", &host.archive(&image("app:1").set("Env", json!(["A=1"])))?.to_string_lossy()])?;
    ensure!(docker(&host, &["images", "-q", "-f", "dangling=true"])? == id);
    ensure!(docker(&host, &["image", "prune", "-f"])?.contains(&id));
    ensure!(docker(&host, &["images", "-q"])? != id);
    host.load(&image("app:1"))?;
    docker(&host, &["rmi", "-f", "app:1"])?;
    docker(&host, &["load", "-i", &host.archive(&image("app:1"))?.to_string_lossy()])?;
    docker(&host, &["load", "-i", &host.archive(&image("app:1").set("Env", json!(["A=2"])))?.to_string_lossy()])?;
    docker(&host, &["image", "prune", "-af"])?;
    ensure!(kept(&host)? == empty, "pruned images left {}", kept(&host)?);
    Ok(())
}

#[test]
fn a_container_becomes_an_image() -> Result<()> {
    let host = ContainerHost::start()?;
    host.load(&image("app:1"))?;
    docker(
        &host,
        &["run", "--name", "maker", "--network", "none", "app:1", "sh", "-c", "echo two > /etc/release; rm /etc/group"],
    )?;
    let changes = ["-c", "CMD [\"cat\", \"/etc/release\"]", "-c", "ENV COLOUR=green", "-c", "EXPOSE 80"];
    docker(&host, &[&["commit", "-m", "why", "-a", "me"], &changes[..], &["maker", "made:1"]].concat())?;
    ensure!(docker(&host, &["run", "--rm", "--network", "none", "made:1"])? == "two");
    let listed = docker(&host, &["run", "--rm", "--network", "none", "made:1", "ls", "/etc"])?;
    ensure!(!listed.contains("group") && listed.contains("passwd"), "{listed}");
    let made = inspect(&host, "made:1")?;
    ensure!(made["Author"] == "me" && made["Comment"] == "why", "{made}");
    ensure!(made["Config"]["ExposedPorts"] == json!({ "80/tcp": {} }), "{made}");
    ensure!(made["Config"]["Labels"]["of"] == "a test", "{made}");
    ensure!(made["RootFS"]["Layers"].as_array().is_some_and(|layers| layers.len() == 2), "{made}");
    ensure!(docker(&host, &["history", "--format", "{{.Comment}}", "made:1"])?.starts_with("why"));
    refused(&host, &["commit", "-c", "RUN x", "maker"], &["RUN is not a valid change command"])
}

#[test]
fn pulls_of_the_same_do_not_meet() -> Result<()> {
    let host = ContainerHost::start()?;
    let registry = Registry::start(&host, RegistryKind::Plain, 5000)?;
    registry.put(&host, &image("app:1").file("big", 0o644, vec![7; 8 << 20]), "app:1")?;
    let name = format!("{}/app:1", registry.loopback());
    let empty = kept(&host)?;
    let pulls =
        (0..4).map(|_| Ok(host.docker_command()?.args(["pull", "-q", &name]).spawn()?)).collect::<Result<Vec<_>>>()?;
    for mut pull in pulls {
        ensure!(pull.wait()?.success(), "one of several pulls failed");
    }
    let blobs = registry.log()?.matches("\"GET /v2/app/blobs/").count();
    ensure!(blobs == 2, "configuration and layer were fetched {blobs} times");
    docker(&host, &["rmi", &name])?;
    ensure!(kept(&host)? == empty, "a removed image left {}", kept(&host)?);
    Ok(())
}
