//! Container images in a compose: from an archive and from a registry on loopback, as one OCI
//! layout in the commit, with skopeo as its judge; and what is refused.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keelson_common::command::CommandExt;
use keelson_tests::archive::Archive;
use keelson_tests::containers::{Process, TestImage};
use keelson_tests::deb::Deb;
use keelson_tests::repo::ostree;
use keelson_tests::{keelson::Composed, paths};
use serde_json::Value;

const DEBIAN: &str = "[[repository]]\nname = \"trixie\"\nsuite = \"trixie\"\ncomponents = [\"main\"]\n";

/// Debian's docker-registry on a free port of loopback, with plain HTTP.
struct Registry {
    process: Process,
    port: u16,
}

impl Registry {
    fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = folder.join("registry.yml");
        let data = folder.join("registry");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let mut process = Process::start(command.arg("serve").arg(&config), &folder.join("registry.log")).unwrap();
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        process.wait_ready(Duration::from_secs(30), listens).unwrap();
        Self { process, port }
    }

    fn name(&self, image: &str) -> String {
        format!("127.0.0.1:{}/{image}", self.port)
    }

    /// Puts an archive there.
    fn put(&self, archive: &Path, image: &str) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "copy",
            "--quiet",
            "--format=oci",
            "--dest-tls-verify=false",
            &format!("docker-archive:{}", archive.display()),
        ]);
        skopeo.arg(format!("docker://{}", self.name(image))).run().unwrap();
    }
}

/// A manifest of one small package and these tables, with Debian's own packages from the cache that
/// all tests share.
fn world(tables: &str) -> (Archive, PathBuf) {
    let demo = Deb::new("demo", "1.0").tree("f 0644 /usr/share/demo x");
    let mut archive = Archive::new(&[demo]).unwrap();
    archive.keelson.cache = paths::cache();
    let manifest = archive.manifest("\"demo\"", &format!("{DEBIAN}{tables}")).unwrap();
    (archive, manifest)
}

fn archive_of(text: &str, path: &Path) {
    TestImage::busybox("app:1").file("etc/motd", 0o644, text).write(path).unwrap();
}

/// The images folder of a commit, checked out.
fn layout(archive: &Archive, composed: &Composed) -> PathBuf {
    let to = archive.folder().join(format!("layout-{}", composed.checksum));
    let target = to.to_str().unwrap();
    let words = ["checkout", "--user-mode", "--subpath=/usr/lib/keelson/images", &composed.checksum, target];
    ostree(&archive.keelson.repo, &words).unwrap();
    to
}

fn skopeo_inspect(layout: &Path, name: &str) -> Value {
    let source = format!("oci:{}:{name}", layout.display());
    serde_json::from_str(&Command::new("skopeo").args(["inspect", &source]).output_text().unwrap()).unwrap()
}

#[test]
fn images_of_an_archive_and_a_registry_become_one_layout() {
    let dir = tempfile::tempdir().unwrap();
    let mut registry = Registry::start(dir.path());
    let app = dir.path().join("app.tar");
    archive_of("one", &app);
    registry.put(&app, "web:1");
    let web = registry.name("web:1");
    let tables = format!(
        "[[image]]\nname = \"app:1\"\narchive = \"{}\"\n[[image]]\nname = \"shop.example/web:1\"\nfrom = \"{web}\"\n",
        app.display()
    );
    let (archive, manifest) = world(&tables);
    let said = archive.keelson.lock(&[], &manifest).unwrap().expect(0).unwrap().stdout;
    assert!(said.contains("image shop.example/web:1: sha256:"), "{said}");
    // What is locked is in the cache: composing asks no registry.
    registry.process.kill().unwrap();
    let composed = archive.keelson.compose(&manifest).unwrap();
    let layout = layout(&archive, &composed);
    for name in ["docker.io/library/app:1", "shop.example/web:1"] {
        let found = skopeo_inspect(&layout, name);
        assert_eq!(found["Architecture"], "amd64", "{found}");
        assert_eq!(found["Layers"].as_array().unwrap().len(), 1);
    }
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][1]["annotations"]["io.containerd.image.name"], "shop.example/web:1");
    let lock = fs::read_to_string(manifest.with_extension("lock")).unwrap();
    assert!(lock.contains(index["manifests"][0]["digest"].as_str().unwrap()), "{lock}");
    // The same again makes no commit.
    assert!(!archive.keelson.compose(&manifest).unwrap().changed);

    // Another archive under the same lock is refused, with the manifest's line; --local takes it.
    archive_of("two", &app);
    let words = ["demo.toml:", "docker.io/library/app:1 is not the one that is locked", "archive's SHA-256"];
    archive.keelson.try_compose(&manifest).unwrap().expect(1).unwrap().says(&words).unwrap();
    archive.keelson.lock(&["--local"], &manifest).unwrap().expect(0).unwrap();
    let again = archive.keelson.compose(&manifest).unwrap();
    assert!(again.changed);
    let other = skopeo_inspect(&self::layout(&archive, &again), "docker.io/library/app:1");
    assert_ne!(other["Layers"], skopeo_inspect(&layout, "docker.io/library/app:1")["Layers"]);
}

#[test]
fn images_that_cannot_be_had_are_refused_with_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut registry = Registry::start(dir.path());
    let name = registry.name("none:1");
    let (archive, manifest) = world(&format!("[[image]]\nname = \"{name}\"\n"));
    let line = {
        let text = fs::read_to_string(&manifest).unwrap();
        text.lines().position(|line| line.contains(&name)).unwrap() + 1
    };
    let place = format!("demo.toml:{line}: cannot get the image {name}");
    archive.refuses_to_lock(&manifest, &[&place, "manifest unknown"]).unwrap();

    let app = dir.path().join("app.tar");
    archive_of("one", &app);
    registry.put(&app, "none:1");
    archive.keelson.lock(&[], &manifest).unwrap().expect(0).unwrap();
    // Another digest in the lock is another image: the registry has none, and nothing is committed.
    let lock = manifest.with_extension("lock");
    let text = fs::read_to_string(&lock).unwrap();
    let digest = text.lines().find_map(|line| line.strip_prefix("digest = \"sha256:")).unwrap().trim_end_matches('"');
    fs::write(&lock, text.replace(digest, &"0".repeat(64))).unwrap();
    archive.refuses(&manifest, &[&place]).unwrap();
    registry.process.kill().unwrap();
    archive.refuses(&manifest, &[&place, "connection refused"]).unwrap();
}
