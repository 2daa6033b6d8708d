//! Owns the images that upstream's end-to-end tests want, under the names they want them by, made of
//! what is at hand: upstream's own test programs, Debian's packages, busybox. Their registry is not
//! asked. Not all there are: those that the specs of a node use.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;
use serde_json::json;

use super::program;
use crate::containers::TestImage;
use crate::containers::image::debian_root;
use crate::paths;

/// An image of busybox that every node has, whatever else it has.
pub const BUSYBOX: &str = "keelson.test/busybox:1";
/// The image of sandboxes.
pub const PAUSE: &str = "keelson.test/pause:1";
/// The image of the cluster's DNS.
pub const DNS: &str = "keelson.test/coredns:1";
/// What agnhost's image has besides agnhost, and `bash-static` for busybox's.
const PACKAGES: [&str; 6] = ["bash-static", "bind9-dnsutils", "curl", "iproute2", "netcat-openbsd", "procps"];

/// The names of all images that are the end-to-end tests' own, and of pause.
fn wanted() -> Result<Vec<String>> {
    let listed = Command::new(program("e2e.test")?).arg("--list-images").output_text()?;
    // Images elsewhere are other projects', or such that a node must fail to pull.
    let names =
        listed.lines().map(str::trim).filter(|name| name.contains("/e2e-test-images/") || base(name) == "pause");
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    // They come in no order.
    names.sort();
    Ok(names)
}

/// The whole name of the image `agnhost`, `busybox`, `pause` and the like: a node has it.
pub fn named(image: &str) -> Result<String> {
    let found = wanted()?.into_iter().find(|name| base(name) == image);
    found.with_context(|| format!("the end-to-end tests want no image {image}"))
}

/// The images that no node can do without: what `manifests/kubernetes/build.sh` builds is enough for them.
pub fn small() -> Result<Vec<TestImage>> {
    Ok(vec![TestImage::busybox(BUSYBOX), pause(PAUSE)?])
}

/// All images that can be made, each with all its names.
pub fn all() -> Result<Vec<TestImage>> {
    let mut made: Vec<(String, TestImage)> = Vec::new();
    for name in wanted()? {
        if let Some((_, image)) = made.iter_mut().find(|(known, _)| known == base(&name)) {
            *image = image.clone().also(&name);
        } else if let Some(image) = make(&name)? {
            made.push((base(&name).to_owned(), image));
        }
    }
    let mut images = small()?;
    images.extend(made.into_iter().map(|(_, image)| image));
    if let Ok(coredns) = program("coredns") {
        let image = TestImage::empty(DNS).program("coredns", 0o755, &coredns);
        images.push(image.set("Entrypoint", json!(["/coredns"])));
    }
    Ok(images)
}

/// `registry/folder/NAME:tag`
fn base(name: &str) -> &str {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(':').next().unwrap_or(last)
}

fn make(name: &str) -> Result<Option<TestImage>> {
    Ok(Some(match base(name) {
        "agnhost" => agnhost(name)?,
        "busybox" => busybox(name)?,
        "glibc-dns-testing" => TestImage::debian_with(name, &PACKAGES)?,
        "nginx" => busybox(name)?
            .file("www/index.html", 0o644, "<title>Welcome to nginx!</title>\n")
            .set("Cmd", json!(["httpd", "-f", "-p", "80", "-h", "/www"])),
        "nonewprivs" => busybox(name)?.program("bin/nnp", 0o6755, &program("nnp")?).set("Cmd", json!(["nnp"])),
        "nonroot" => busybox(name)?.set("User", json!("1234")),
        "pause" => pause(name)?,
        _ => return Ok(None),
    }))
}

/// What holds a pod's namespaces open.
pub fn pause(name: &str) -> Result<TestImage> {
    let image = TestImage::empty(name).program("pause", 0o755, &program("pause")?);
    Ok(image.set("User", json!("65535:65535")).set("Entrypoint", json!(["/pause"])))
}

fn agnhost(name: &str) -> Result<TestImage> {
    let user = "user-defined-in-image";
    let passwd = format!(
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
         {user}:x:1000:1000::/home/{user}:/bin/bash\n"
    );
    let group = format!("root:x:0:\nnogroup:x:65534:\n{user}:x:1000:\ngroup-defined-in-image:x:50000:{user}\n");
    let mut image = TestImage::debian_with(name, &PACKAGES)?
        .file("etc/passwd", 0o644, passwd)
        .file("etc/group", 0o644, group)
        .file("uploads/.empty", 0o644, "")
        .program("agnhost", 0o755, &program("agnhost")?)
        .link("agnhost-2", "agnhost")
        .set("Entrypoint", json!(["/agnhost"]))
        .set("Cmd", json!(["pause"]));
    for file in ["localhost.crt", "localhost.key"] {
        image = image.program(file, 0o644, &program(file)?);
    }
    // A few specs start it there as a resolver of their own.
    if let Ok(coredns) = program("coredns") {
        image = image.program("coredns", 0o755, &coredns);
    }
    Ok(image)
}

/// busybox, but `sh` by its bare name is a shell that hands on variables with `-` and `.` in their names:
/// busybox's own, as Debian makes it, drops them. `/bin/sh` stays what it is, since specs know its messages.
fn busybox(name: &str) -> Result<TestImage> {
    Ok(TestImage::busybox(name).program("usr/local/bin/sh", 0o755, &bash()?))
}

/// Debian's bash-static, unpacked into the tests' cache.
fn bash() -> Result<PathBuf> {
    let root = debian_root(&PACKAGES)?;
    let _lock = paths::lock("bash")?;
    let path = root.with_file_name("bash-static");
    if path.exists() {
        return Ok(path);
    }
    let mut archive = tar::Archive::new(File::open(&root)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with("usr/bin/bash-static") {
            let unfinished = root.with_file_name("bash-static.new");
            entry.unpack(&unfinished)?;
            fs::rename(unfinished, &path)?;
            return Ok(path);
        }
    }
    anyhow::bail!("{} has no bash-static", root.display())
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn an_image_is_known_by_its_last_name() {
        assert_eq!(base("registry.example/tests/agnhost:2.55"), "agnhost");
        assert_eq!(base("registry.example:5000/pause"), "pause");
        assert_eq!(base("busybox:1"), "busybox");
    }
}
