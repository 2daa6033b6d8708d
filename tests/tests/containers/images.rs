//! Images by hand: what they say of a container, and `load`, `save`, `tag`, `rmi`, `commit`, `diff`.

use anyhow::{Result, ensure};
use keelson_tests::containers::{ContainerHost, TestImage};
use serde_json::json;

#[test]
fn the_image_says_what_nobody_else_does() -> Result<()> {
    let host = ContainerHost::start()?;
    let image = TestImage::busybox("app:1").set("User", json!("app")).set("WorkingDir", json!("/srv"));
    let image = image.set("Env", json!(["PATH=/bin", "GREETING=hello"])).set("Volumes", json!({ "/data": {} }));
    host.load(&image.set("ExposedPorts", json!({ "80/tcp": {} })).set("Labels", json!({ "kind": "test" })))?;
    let told = host.ok(&[
        "run",
        "--name",
        "one",
        "app:1",
        "sh",
        "-c",
        "id -u; pwd; echo $GREETING; grep -c ' /data ' /proc/mounts",
    ])?;
    ensure!(told == "1000\n/srv\nhello\n1", "{told}");
    let over =
        ["run", "--rm", "--user", "0:50", "--workdir", "/tmp", "--env", "GREETING=bye", "--hostname", "box", "app:1"];
    let told = host.ok(&[&over[..], &["sh", "-c", "id -u; id -g; pwd; echo $GREETING; hostname"]].concat())?;
    ensure!(told == "0\n50\n/tmp\nbye\nbox", "{told}");
    ensure!(
        host.ok(&["ps", "-aq", "--filter", "label=kind=test"])?.lines().count() == 1,
        "the label is not the container's"
    );
    host.ok(&["rm", "--volumes", "one"])?;
    ensure!(std::fs::read_dir(host.root().join("volumes")).map_or(0, Iterator::count) == 0, "a volume is left");
    host.no_leaks()
}

#[test]
fn load_save_tag_remove() -> Result<()> {
    let host = ContainerHost::start()?;
    let archive = host.archive(&TestImage::busybox("busybox:latest"))?;
    let said = host.ok(&["load", "--input", &archive.to_string_lossy()])?;
    ensure!(said.contains("Loaded image: busybox:latest"), "{said}");
    host.ok(&["tag", "busybox", "mine:2"])?;
    let saved = host.folder().join("saved.tar");
    host.ok(&["save", "--output", &saved.to_string_lossy(), "mine:2"])?;
    let removed = host.ok(&["rmi", "busybox", "mine:2"])?;
    ensure!(removed.contains("Untagged: mine:2") && removed.contains("Deleted: sha256:"), "{removed}");
    host.ok(&["load", "--input", &saved.to_string_lossy()])?;
    ensure!(host.ok(&["run", "--rm", "mine:2", "echo", "saved"])? == "saved", "what was saved does not run");
    host.ok(&["run", "--detach", "--name", "uses", "mine:2", "sleep", "1000"])?;
    host.keelctl(&["rmi", "mine:2"])?
        .expect(1)?
        .says(&["uses", "must be forced"])
        .or_else(|_| host.keelctl(&["rmi", "mine:2"])?.expect(1)?.says(&["conflict"]))?;
    host.ok(&["rm", "--force", "uses"])?;
    host.no_leaks()
}

#[test]
fn diff_and_commit() -> Result<()> {
    let host = ContainerHost::start()?;
    host.load(&TestImage::busybox("busybox:latest").file("srv/a/one", 0o644, "1").file("srv/a/two", 0o644, "2"))?;
    let script =
        "echo new > /srv/a/three; echo changed > /srv/a/one; rm /srv/a/two; mkdir /opt; echo x > /opt/x; rm /etc/group";
    host.ok(&["run", "--name", "changed", "busybox", "sh", "-c", script])?;
    let diff = host.ok(&["diff", "changed"])?;
    let mut lines: Vec<&str> = diff.lines().collect();
    lines.sort_unstable();
    let expected = [
        "A /opt",
        "A /opt/x",
        "A /srv/a/three",
        "C /etc",
        "C /srv",
        "C /srv/a",
        "C /srv/a/one",
        "D /etc/group",
        "D /srv/a/two",
    ];
    ensure!(lines == expected, "{diff}");
    host.ok(&["commit", "--change", "CMD [\"cat\", \"/srv/a/three\"]", "changed", "kept:1"])?;
    host.ok(&["rm", "changed"])?;
    ensure!(host.ok(&["run", "--rm", "kept:1"])? == "new", "the commit lost the change");
    ensure!(host.ok(&["run", "--rm", "kept:1", "ls", "/srv/a"])? == "one\nthree", "the commit kept what was removed");
    host.no_leaks()
}
