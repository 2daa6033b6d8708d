//! What goes wrong once packages are being unpacked and configured: real Debian packages from the
//! mirror, with fixtures beside them. Each leaves the repository as it was, and a good compose works
//! afterwards with what is left lying about.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keelson_common::command::CommandExt;
use keelson_tests::archive::{Archive, REF};
use keelson_tests::deb::Deb;
use keelson_tests::keelson::Keelson;
use keelson_tests::{paths, repo};

const DEBIAN: &str = "[[repository]]\nname = \"trixie\"\nsuite = \"trixie\"\ncomponents = [\"main\"]\n";

/// Debian's essential packages and `debs`, of which `packages` are installed; downloads come from
/// the cache that all tests share.
fn world(debs: &[Deb], packages: &str) -> (Archive, PathBuf) {
    let mut archive = Archive::new(debs).unwrap();
    archive.keelson.cache = paths::cache();
    let manifest = archive.manifest(packages, DEBIAN).unwrap();
    archive.keelson.lock(&[], &manifest).unwrap().expect(0).unwrap();
    (archive, manifest)
}

fn good() -> Deb {
    Deb::new("demo", "1.0").tree("f 0644 /usr/share/demo x").script("postinst", "echo made > /etc/demo.made")
}

#[test]
fn failing_maintainer_script_is_shown_with_its_output() {
    let bad = Deb::new("broken", "1.0").script("postinst", "echo about to break\necho the reason why >&2\nexit 7");
    let (archive, manifest) = world(&[bad], "\"broken\"");
    archive
        .refuses(
            &manifest,
            &["broken", "post-installation script", "exit status 7", "about to break", "the reason why"],
        )
        .unwrap();
}

#[test]
fn maintainer_scripts_reach_neither_network_nor_build_machine() {
    let outside = tempfile::tempdir().unwrap();
    let probe = outside.path().join("reached");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Bash, whose /dev/tcp needs no further program.
    let connect = format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' || echo no network");
    let write = format!("mkdir -p {} && touch {} || echo no folder", outside.path().display(), probe.display());
    let nosy = Deb::new("nosy", "1.0").script("postinst", &format!("{connect}\n{write}"));
    let (archive, manifest) = world(&[nosy], "\"nosy\"");
    archive.keelson.compose(&manifest).unwrap();
    assert!(!probe.exists(), "a maintainer script wrote outside its root");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a maintainer script reached the build machine's loopback");
}

#[test]
fn full_disk_under_the_cache() {
    let small = Small::mount("64m");
    let (mut archive, manifest) = world(&[good()], "\"demo\"");
    archive.keelson.cache = small.path().join("cache");
    archive.refuses(&manifest, &["No space left"]).unwrap();
    small.grow("2g");
    assert!(archive.keelson.compose(&manifest).unwrap().changed);
}

#[test]
fn full_disk_under_the_repository() {
    let small = Small::mount("24m");
    let (mut archive, manifest) = world(&[good()], "\"demo\"");
    archive.move_repository(&small.path().join("repo")).unwrap();
    archive.refuses(&manifest, &["No space left"]).unwrap();
    small.grow("2g");
    assert!(archive.keelson.compose(&manifest).unwrap().changed);
}

#[test]
fn interrupted_compose_is_followed_by_a_good_one() {
    let (mut archive, manifest) = world(&[good()], "\"demo\"");
    archive.keelson.cache = archive.folder().join("cold");
    let start = Instant::now();
    let calm = archive.copy_of_repository("calm").unwrap();
    let expected = Keelson { cache: archive.folder().join("calm-cache"), ..calm }.compose(&manifest).unwrap();
    let whole = start.elapsed();
    let refs = |more: bool| {
        let mut refs = archive.before().to_vec();
        refs.extend(more.then(|| (REF.to_owned(), expected.checksum.clone())));
        refs.sort();
        refs
    };
    for part in 1..8 {
        kill_after(archive.keelson.compose_command(&manifest).unwrap(), whole * part / 8);
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(archive.folder().to_str().unwrap()), "a mount was left behind");
        repo::ostree(&archive.keelson.repo, &["fsck"]).unwrap();
        // All or nothing: it may have come to its end before it was killed.
        let now = repo::refs(&archive.keelson.repo).unwrap();
        assert!(now == refs(false) || now == refs(true), "{now:?}");
    }
    assert_eq!(archive.keelson.compose(&manifest).unwrap().checksum, expected.checksum);
    repo::ostree(&archive.keelson.repo, &["fsck"]).unwrap();
    let summary = repo::ostree(&archive.keelson.repo, &["summary", "--view"]).unwrap();
    assert!(summary.contains(&expected.checksum), "{summary}");
}

#[test]
fn two_composes_at_once_take_turns() {
    let (archive, manifest) = world(&[good()], "\"demo\"");
    let spawn = || archive.keelson.compose_command(&manifest).unwrap().stdout(Stdio::piped()).spawn().unwrap();
    let finished = [spawn(), spawn()].map(|child| child.wait_with_output().unwrap());
    let documents = finished.map(|output| {
        assert_eq!(output.status.code(), Some(0));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    });
    assert_eq!(documents[0]["checksum"], documents[1]["checksum"]);
    assert_ne!(documents[0]["changed"], documents[1]["changed"], "one commit was made twice");
    repo::ostree(&archive.keelson.repo, &["fsck"]).unwrap();
}

/// Ends a process, as a crash would, after that time; it may have ended by then.
fn kill_after(mut command: Command, time: Duration) {
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    let _ = child.kill();
    child.wait().unwrap();
}

/// A small file system in memory; it goes when dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(size: &str) -> Self {
        let small = Self(tempfile::tempdir().unwrap());
        let size = format!("size={size}");
        Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(small.path()).run().unwrap();
        small
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn grow(&self, size: &str) {
        let size = format!("remount,size={size}");
        Command::new("mount").args(["-o", &size]).arg(self.path()).run().unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = Command::new("umount").arg(self.path()).run() {
            eprintln!("{error}");
        }
    }
}
