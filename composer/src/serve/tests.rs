//! Tests of the server with the clients it is for: `ostree pull`, and `curl` for ranges and what
//! is refused.

use std::fs;
use std::path::Path;
use std::process::Command;

use keelson_common::command::CommandExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::*;

fn ostree(repo: &Path, verb: &str, args: &[&str]) {
    Command::new("ostree").arg(verb).args(args).arg("--repo").arg(repo).run().unwrap();
}

fn repository(dir: &Path, mode: &str) -> PathBuf {
    let (repo, tree) = (dir.join("repo"), dir.join("tree"));
    fs::create_dir_all(tree.join("usr/etc")).unwrap();
    fs::write(tree.join("usr/etc/motd"), "hello").unwrap();
    fs::create_dir(&repo).unwrap();
    ostree(&repo, "init", &["--mode", mode]);
    ostree(&repo, "commit", &["-b", "test", tree.to_str().unwrap()]);
    ostree(&repo, "summary", &["-u"]);
    repo
}

/// A server on a free port, told to stop and waited for when the test is over.
struct Running {
    dir: TempDir,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<Result<(), ServeError>>,
    runtime: Runtime,
}

impl Running {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = repository(dir.path(), "archive");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let server = runtime.block_on(Server::bind(&repo, "127.0.0.1:0")).unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel();
        let serving = runtime.spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { dir, address, stop, serving, runtime }
    }

    fn curl(&self, args: &[&str], path: &str) -> String {
        let url = format!("http://{}{path}", self.address);
        Command::new("curl").args(["-sS", "--path-as-is"]).args(args).arg(url).output_text().unwrap()
    }

    fn status(&self, args: &[&str], path: &str) -> String {
        self.curl(&[args, &["-o", "/dev/null", "-w", "%{http_code}"]].concat(), path)
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        self.runtime.block_on(self.serving).unwrap().unwrap();
    }
}

#[test]
fn ostree_pulls_from_it() {
    let running = Running::new();
    let client = running.dir.path().join("client");
    fs::create_dir(&client).unwrap();
    ostree(&client, "init", &["--mode=bare-user-only"]);
    let url = format!("http://{}", running.address);
    ostree(&client, "remote", &["add", "--no-gpg-verify", "origin", &url]);
    ostree(&client, "pull", &["origin", "test"]);
    ostree(&client, "fsck", &[]);
    running.stop();
}

#[test]
fn ranges_are_answered() {
    let running = Running::new();
    let config = fs::read_to_string(running.dir.path().join("repo/config")).unwrap();
    assert_eq!(running.curl(&[], "/config"), config);
    assert_eq!(running.curl(&["-r", "1-4"], "/config"), config[1..5]);
    assert_eq!(running.curl(&["-r", "-3"], "/config"), config[config.len() - 3..]);
    assert_eq!(running.status(&["-r", "1-4"], "/config"), "206");
    assert_eq!(running.status(&["-r", "99999-"], "/config"), "416");
    running.stop();
}

#[test]
fn nothing_else_is() {
    let running = Running::new();
    let secret = running.dir.path().join("secret");
    fs::write(&secret, "x").unwrap();
    std::os::unix::fs::symlink(&secret, running.dir.path().join("repo/link")).unwrap();
    std::os::unix::fs::symlink("config", running.dir.path().join("repo/alias")).unwrap();
    for path in ["/../secret", "/%2e%2e/secret", "/objects/../../secret", "/link", "/objects", "/objects/", "/gone"] {
        assert_eq!(running.status(&[], path), "404", "{path}");
    }
    assert_eq!(running.status(&[], "/alias"), "200");
    assert_eq!(running.status(&["-I"], "/config"), "200");
    for method in ["POST", "PUT", "DELETE"] {
        assert_eq!(running.status(&["-X", method], "/config"), "405", "{method}");
    }
    running.stop();
}

#[test]
fn folders_that_cannot_be_served_are_refused_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = |path: &Path, address: &str| runtime.block_on(Server::bind(path, address)).unwrap_err().to_string();
    assert!(error(dir.path(), "127.0.0.1:0").contains("is no OSTree repository: name the one"));
    assert!(error(&repository(dir.path(), "bare-user"), "127.0.0.1:0").contains("of mode bare-user, and clients pull"));
    let running = Running::new();
    let taken = error(&running.dir.path().join("repo"), &running.address.to_string());
    assert_eq!(taken, format!("cannot listen on {}: another program does; port 0 takes a free one", running.address));
    running.stop();
}
