//! Images from a registry: with TLS and a password, over plain HTTP, dead, and lying.

use std::fs;

use anyhow::{Result, ensure};
use keelson_tests::containers::{ContainerHost, Registry, RegistryKind, TestImage};

#[test]
fn tls_and_passwords() -> Result<()> {
    let host = ContainerHost::start()?;
    let registry = Registry::start(&host, RegistryKind::Secure, 5443)?;
    registry.put(&host, &TestImage::busybox("busybox:latest"), "test/busybox:1")?;
    let image = format!("{}/test/busybox:1", registry.address());
    // Its CA is unknown, then nobody has said who we are, then the wrong one.
    host.keelctl(&["pull", &image])?.expect(1)?.says(&["certificate"])?;
    registry.trust(&host)?;
    host.keelctl(&["pull", &image])?.expect(1)?.says(&["unauthorized"])?;
    let auth = host.folder().join("docker/config.json");
    fs::write(&auth, registry.auth_json("wrong")?)?;
    host.keelctl(&["pull", &image])?.expect(1)?.says(&["unauthorized"])?;
    fs::write(&auth, registry.auth_json(Registry::PASSWORD)?)?;
    let pulled = host.keelctl(&["pull", &image])?.expect(0)?;
    ensure!(
        pulled.stdout.contains("Digest: sha256:") && pulled.stdout.contains("Downloaded newer image"),
        "{pulled:?}"
    );
    ensure!(host.ok(&["run", "--rm", &image, "echo", "pulled"])? == "pulled", "it does not run");
    ensure!(host.ok(&["pull", &image])?.contains("Image is up to date"), "pulled twice");
    // By digest, as the registry told it.
    let described: serde_json::Value = serde_json::from_str(&host.ok(&["image", "inspect", &image])?)?;
    let digest = described[0]["RepoDigests"][0].as_str().unwrap_or_default().to_owned();
    ensure!(digest.contains("@sha256:"), "no digest in {described}");
    host.ok(&["rmi", &image])?;
    ensure!(host.ok(&["run", "--rm", &digest, "echo", "by digest"])?.ends_with("by digest"), "not by digest");
    host.no_leaks()
}

#[test]
fn plain_http_only_on_loopback_or_where_configured() -> Result<()> {
    let host = ContainerHost::start()?;
    let registry = Registry::start(&host, RegistryKind::Plain, 5000)?;
    registry.put(&host, &TestImage::busybox("busybox:latest"), "busybox:1")?;
    let (near, far) = (format!("{}/busybox:1", registry.loopback()), format!("{}/busybox:1", registry.address()));
    host.keelctl(&["pull", &far])?.expect(1)?;
    host.ok(&["pull", &near])?;
    let name = registry.address();
    registry.describe(&host, &name, &format!("server = \"http://{name}\"\n"))?;
    host.ok(&["pull", &far])?;
    // What is here can be given on.
    let copy = format!("{}/copies/busybox:2", registry.loopback());
    host.ok(&["tag", &near, &copy])?;
    host.ok(&["push", &copy])?;
    host.ok(&["rmi", &near, &far, &copy])?;
    ensure!(host.ok(&["images", "--quiet"])?.is_empty(), "images are left");
    ensure!(host.ok(&["run", "--rm", &copy, "echo", "pushed"])?.ends_with("pushed"), "it does not run");
    host.no_leaks()
}

#[test]
fn dead_and_lying_registries_leave_nothing() -> Result<()> {
    let host = ContainerHost::start()?;
    let mut registry = Registry::start(&host, RegistryKind::Plain, 5000)?;
    registry.put(&host, &TestImage::busybox("busybox:latest"), "busybox:1")?;
    let image = format!("{}/busybox:1", registry.loopback());
    let none = format!("{}/busybox:none", registry.loopback());
    host.keelctl(&["run", "--rm", &none, "true"])?.expect(125)?.says(&["busybox:none"])?;
    let wrong = format!("{}/busybox@sha256:{}", registry.loopback(), "0".repeat(64));
    host.keelctl(&["run", "--rm", &wrong, "true"])?.expect(125)?.says(&["sha256:0000"])?;
    registry.tamper()?;
    host.keelctl(&["run", "--rm", &image, "true"])?.expect(125)?.says(&["digest"])?;
    registry.stop()?;
    host.keelctl(&["run", "--rm", &image, "true"])?.expect(125)?.says(&["refused"])?;
    ensure!(host.ok(&["images", "--quiet"])?.is_empty(), "an image is left");
    ensure!(host.ok(&["ps", "--all", "--quiet"])?.is_empty(), "a container is left");
    host.no_leaks()
}
