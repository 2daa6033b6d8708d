//! A world for the agent without a virtual machine: a signed repository behind HTTP, a sysroot
//! made by the stock `ostree admin`, a bus of its own and a real keeld on it.

mod bus;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use bus::Bus;
pub use server::Server;

/// The ref that hosts follow.
pub const REF: &str = "keelson/host";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A commit to publish.
#[derive(Debug, Clone, Copy)]
pub struct Release<'a> {
    /// The ref.
    pub name: &'a str,
    /// The version.
    pub version: &'a str,
    /// Seconds since the epoch.
    pub time: u64,
    /// The packages, `name version`.
    pub packages: &'a [(&'a str, &'a str)],
    /// The default kernel arguments.
    pub kargs: &'a [&'a str],
    /// Whose key signs it: a folder of [`World::dir`], or nobody's.
    pub signer: Option<&'a str>,
}

impl Default for Release<'_> {
    fn default() -> Self {
        Self {
            name: REF,
            version: "1",
            time: 1_700_000_000,
            packages: &[("base-files", "1"), ("nano", "8")],
            kargs: &["quiet", "loglevel=3"],
            signer: Some("gpg"),
        }
    }
}

/// Everything a test needs; dropped, it ends its processes and removes its files.
pub struct World {
    keeld: Option<Child>,
    bus: Bus,
    /// The HTTP server of the repository.
    pub server: Server,
    dir: TempDir,
}

impl World {
    /// A host that runs version 1 of [`REF`] and trusts the key in `gpg`.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (bus, server) = (Bus::start(dir.path()), Server::start(dir.path().join("repo")));
        let mut world = Self { keeld: None, bus, server, dir };
        world.make_key("gpg");
        world.ostree(&["init", "--repo=repo", "--mode=archive"]);
        world.publish(&Release::default());
        world.make_sysroot();
        world.start_keeld();
        world
    }

    /// Where everything is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a key pair in the GnuPG home `home`, and `home.asc` with its public half.
    pub fn make_key(&self, home: &str) {
        let path = self.dir().join(home);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let user = format!("{home} <{home}@example.org>");
        self.gpg(home, &["--passphrase", "", "--quick-gen-key", &user, "ed25519", "sign", "never"]);
        let public = self.gpg(home, &["--armor", "--export"]);
        fs::write(self.dir().join(format!("{home}.asc")), public).unwrap();
    }

    /// The fingerprint of the key in `home`.
    pub fn fingerprint(&self, home: &str) -> String {
        let listing = String::from_utf8(self.gpg(home, &["--list-keys", "--with-colons"])).unwrap();
        listing.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':').to_owned()
    }

    fn gpg(&self, home: &str, args: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--homedir"]).arg(self.dir().join(home)).args(args);
        ok(&mut command).stdout
    }

    fn ostree(&self, args: &[&str]) -> String {
        let output = ok(Command::new("ostree").args(args).current_dir(self.dir()));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits a small bootable tree and gives its checksum.
    pub fn publish(&self, release: &Release<'_>) -> String {
        self.make_tree(release.version);
        let list: Vec<String> = release.packages.iter().map(|(n, v)| format!("('{n}', '{v}', 'all')")).collect();
        let packages = format!("--add-metadata=keelson.packages=@a(sss) [{}]", list.join(", "));
        let kargs = format!("--add-metadata=keelson.kargs=@as {:?}", release.kargs);
        let version = format!("--add-metadata-string=version={}", release.version);
        let (branch, time) = (format!("--branch={}", release.name), format!("--timestamp=@{}", release.time));
        let mut args = vec!["commit", "--repo=repo", "--tree=dir=tree", "--bootable", "--generate-sizes"];
        args.extend([&branch, &time, &version, &packages, &kargs].map(String::as_str));
        let mut signing = Vec::new();
        if let Some(home) = release.signer {
            signing = vec![format!("--gpg-homedir={home}"), format!("--gpg-sign={}", self.fingerprint(home))];
        }
        args.extend(signing.iter().map(String::as_str));
        let checksum = self.ostree(&args);
        self.ostree(&["summary", "--repo=repo", "--update"]);
        checksum
    }

    fn make_tree(&self, version: &str) {
        let tree = self.dir().join("tree");
        let write = |path: &str, content: &str| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        write("usr/lib/modules/6.1/vmlinuz", "a kernel");
        write("usr/lib/modules/6.1/initramfs.img", "an initramfs");
        write("usr/etc/os-release", &format!("NAME=Test\nPRETTY_NAME=\"Test {version}\"\n"));
        write("usr/lib/os-release", &format!("NAME=Test\nPRETTY_NAME=\"Test {version}\"\n"));
        write("usr/share/version", &format!("content of {version}\n"));
    }

    fn make_sysroot(&self) {
        let url = self.server.url();
        fs::create_dir(self.dir().join("sysroot")).unwrap();
        self.ostree(&["admin", "init-fs", "--modern", "sysroot"]);
        self.ostree(&["admin", "os-init", "--sysroot=sysroot", "keelson"]);
        let repo = "--repo=sysroot/ostree/repo";
        self.ostree(&["config", repo, "set", "sysroot.bootloader", "none"]);
        self.ostree(&["config", repo, "set", "core.min-free-space-percent", "0"]);
        self.ostree(&["remote", "add", repo, "--gpg-import=gpg.asc", "keelson", &url]);
        self.ostree(&["pull", repo, "keelson", REF]);
        let refspec = format!("keelson:{REF}");
        let kargs = ["--karg=root=LABEL=root", "--karg=quiet", "--karg=loglevel=3"];
        let mut args = vec!["admin", "deploy", "--sysroot=sysroot", "--os=keelson"];
        args.extend(kargs);
        args.push(&refspec);
        self.ostree(&args);
    }

    /// Sets an option of the host's repository.
    pub fn configure(&self, key: &str, value: &str) {
        self.ostree(&["config", "--repo=sysroot/ostree/repo", "set", key, value]);
    }

    /// Starts keeld and waits until it answers.
    pub fn start_keeld(&mut self) {
        let keeld = Command::new(env!("CARGO_BIN_EXE_keeld"))
            .arg("--sysroot")
            .arg(self.dir().join("sysroot"))
            .arg("--state")
            .arg(self.dir().join("state"))
            .args(["--bus", &self.bus.address])
            // libostree prints what it prunes.
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.dir().join("keeld.log")).unwrap())
            .spawn()
            .unwrap();
        self.keeld = Some(keeld);
        self.wait_for("keeld to answer", |world| world.try_keelctl(&["status"]).status.success());
    }

    /// Kills keeld as a power cut would.
    pub fn kill_keeld(&mut self) {
        let mut keeld = self.keeld.take().unwrap();
        keeld.kill().unwrap();
        keeld.wait().unwrap();
    }

    /// Restarts the bus and gives how keeld ends of that, which systemd starts anew on a host.
    pub fn restart_bus(&mut self) -> ExitStatus {
        self.bus.restart(self.dir.path());
        let (begin, keeld) = (Instant::now(), self.keeld.as_mut().unwrap());
        let status = loop {
            if let Some(status) = keeld.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < LIMIT, "keeld serves on no bus");
            std::thread::sleep(Duration::from_millis(50));
        };
        self.keeld = None;
        status
    }

    /// A keelctl with these arguments, not started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keelctl"));
        command.args(["--bus", &self.bus.address]).args(args).stdin(Stdio::null());
        command
    }

    /// Runs keelctl, however it ends.
    pub fn try_keelctl(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs keelctl to success and gives what it printed.
    pub fn keelctl(&self, args: &[&str]) -> String {
        let output = self.try_keelctl(args);
        let log = || fs::read_to_string(self.dir().join("keeld.log")).unwrap_or_default();
        assert!(output.status.success(), "keelctl {args:?}: {}\nkeeld: {}", text(&output.stderr), log());
        text(&output.stdout)
    }

    /// Runs keelctl to success with `--json`; the whole output is one document.
    pub fn json(&self, args: &[&str]) -> Value {
        let printed = self.keelctl(&[args, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Runs keelctl to failure and gives what it said.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.try_keelctl(args);
        assert_eq!(output.status.code(), Some(1), "keelctl {args:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// The versions in boot order.
    pub fn versions(&self) -> Vec<String> {
        let status = self.json(&["status"]);
        let deployments = status["deployments"].as_array().unwrap();
        deployments.iter().map(|d| d["version"].as_str().unwrap().to_owned()).collect()
    }

    /// What the ref in the host's repository names.
    pub fn host_ref(&self) -> String {
        self.ostree(&["rev-parse", "--repo=sysroot/ostree/repo", &format!("keelson:{REF}")])
    }

    /// Damages every object of the served repository that is newer than the host's version 1: all
    /// content objects whose content says `marker`.
    pub fn damage(&self, commit: &str, path: &str) -> PathBuf {
        let listing = self.ostree(&["ls", "--repo=repo", "--checksum", commit, path]);
        let object = listing.split_whitespace().find(|word| word.len() == 64).unwrap();
        let file = self.dir().join("repo/objects").join(&object[..2]).join(format!("{}.filez", &object[2..]));
        let mut content = fs::read(&file).unwrap();
        let middle = content.len() - 4;
        content[middle] ^= 0xff;
        fs::write(&file, content).unwrap();
        file
    }

    /// Waits until `done` says so.
    pub fn wait_for(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !done(self) {
            assert!(begin.elapsed() < LIMIT, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.open_gate();
        if let Some(mut keeld) = self.keeld.take() {
            let _ = keeld.kill();
            let _ = keeld.wait();
        }
        // Deployment roots are immutable.
        let _ = Command::new("chattr").args(["-R", "-i"]).arg(self.dir().join("sysroot/ostree/deploy")).output();
    }
}

fn ok(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    output
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
