//! What stock `ostree` makes of our repositories: pulls them over HTTP, checks signature and every
//! object, deploys them. Nothing of Keelson is involved on that side.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;
use keelson_tests::host::{self, Version};
use keelson_tests::keelson::signing_home;
use keelson_tests::repo::{ostree, rev_parse};
use tempfile::TempDir;

/// The signing key as a person hands it out.
fn public_key(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("key.gpg");
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--yes", "--homedir"]).arg(signing_home());
    gpg.arg("--output").arg(&path).arg("--export").run()?;
    Ok(path)
}

/// Pulls a version from `url` into `repo`, which exists, with signatures required.
fn pull(repo: &Path, url: &str, version: &Version) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let import = format!("--gpg-import={}", public_key(folder.path())?.display());
    ostree(repo, &["remote", "add", "--set=gpg-verify=true", &import, "origin", url])?;
    let reference = &version.composed.reference;
    ostree(repo, &["pull", "origin", reference])?;
    let pulled = rev_parse(repo, &format!("origin:{reference}"))?;
    ensure!(pulled == version.composed.checksum, "{pulled} came instead of {}", version.composed.checksum);
    let shown = ostree(repo, &["show", "--gpg-verify-remote=origin", reference])?;
    ensure!(shown.contains("Good signature"), "{shown}");
    ostree(repo, &["fsck"]).map(drop)
}

#[test]
fn pulls_from_keelson_serve_and_deploys() {
    let version = &host::default_host().unwrap().v1;
    let serve = version.keelson.serve().unwrap();
    let sysroot = Sysroot::new().unwrap();
    pull(&sysroot.repo(), serve.url(), version).unwrap();
    let root = sysroot.deploy(&format!("origin:{}", version.composed.reference), &version.composed.checksum).unwrap();
    for path in ["usr/libexec/keelson/keeld", "usr/bin/keelctl", "etc/os-release", "usr/etc/os-release", "usr/bin/dpkg"]
    {
        assert!(root.join(path).symlink_metadata().is_ok(), "{path} is not in the deployment");
    }
    assert!(sysroot.admin(&["status"]).unwrap().contains(&version.composed.checksum));
    let entries = std::fs::read_dir(sysroot.path().join("boot/loader/entries")).unwrap();
    assert_eq!(entries.count(), 1);
}

#[test]
fn pulls_from_any_static_server() {
    let version = &host::minimal_host().unwrap().v1;
    let server = PythonServer::start(&version.keelson.repo).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    ostree(&repo, &["init", "--mode=archive"]).unwrap();
    pull(&repo, &server.url, version).unwrap();
}

#[test]
fn pulls_an_update_as_a_static_delta() {
    let host = host::minimal_host().unwrap();
    let serve = host.v2.keelson.serve().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    ostree(&repo, &["init", "--mode=bare-user"]).unwrap();
    // What a host on the first version has: its objects, under the remote's ref.
    ostree(&repo, &["pull-local", "--remote=origin", host.v1.keelson.repo.to_str().unwrap(), host.reference()])
        .unwrap();
    ostree(&repo, &["remote", "add", "--no-gpg-verify", "origin", serve.url()]).unwrap();
    ostree(&repo, &["pull", "--require-static-deltas", "origin", host.reference()]).unwrap();
    let pulled = rev_parse(&repo, &format!("origin:{}", host.reference())).unwrap();
    assert_eq!(pulled, host.v2.composed.checksum);
}

/// A sysroot of stock ostree in a temporary folder.
struct Sysroot(TempDir);

impl Sysroot {
    fn new() -> Result<Self> {
        let sysroot = Self(tempfile::tempdir()?);
        Command::new("ostree").args(["admin", "init-fs", "--modern"]).arg(sysroot.path()).run()?;
        sysroot.admin(&["os-init", "keelson"])?;
        Ok(sysroot)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn repo(&self) -> PathBuf {
        self.path().join("ostree/repo")
    }

    fn admin(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("ostree");
        command.arg("admin").args(words).arg(format!("--sysroot={}", self.path().display()));
        Ok(command.output_text()?)
    }

    /// Deploys `refspec` and gives the deployment's root.
    fn deploy(&self, refspec: &str, checksum: &str) -> Result<PathBuf> {
        self.admin(&["deploy", "--os=keelson", refspec])?;
        Ok(self.path().join(format!("ostree/deploy/keelson/deploy/{checksum}.0")))
    }
}

impl Drop for Sysroot {
    fn drop(&mut self) {
        // A deployment's root carries the immutable flag, which would keep the folder from going.
        let deployments = self.path().join("ostree/deploy/keelson/deploy");
        for entry in std::fs::read_dir(deployments).into_iter().flatten().flatten() {
            let _ = Command::new("chattr").arg("-i").arg(entry.path()).run();
        }
    }
}

/// `python3 -m http.server` in a folder; it ends when dropped.
struct PythonServer {
    child: Child,
    url: String,
}

impl PythonServer {
    fn start(folder: &Path) -> Result<Self> {
        use std::io::{BufRead, BufReader};
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "--directory"]).arg(folder);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().context("the server has no output")?;
        let mut server = Self { child, url: String::new() };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        // Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ...
        let url = line.split(['(', ')']).nth(1).with_context(|| format!("no address in {line:?}"))?;
        server.url = url.trim_end_matches('/').to_owned();
        Ok(server)
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
