//! Owns [`ContainerHost`]: how it is started, used, crashed, restarted and taken down.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;

use super::folder::{Teardown, cgroup, name, new_folder, sweep, teardown};
use super::manager::ServiceManager;
use super::{Namespace, Process, TestImage, leaks, need};
use crate::keelson::{Run, finish};
use crate::paths;

/// How long a server may take to start, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(30);

/// What a host is made with.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Bytes of the file system that `keeld` keeps everything on, as `mount -o size=` takes them:
    /// `16m`. The machine's own when there is none.
    pub room: Option<String>,
    /// Further options of `keeld containers`.
    pub options: Vec<String>,
}

/// A private containerd and the `keeld containers` on it; all of it is gone when dropped.
#[derive(Debug)]
pub struct ContainerHost {
    folder: PathBuf,
    setup: Setup,
    namespace: Namespace,
    containerd: Process,
    manager: ServiceManager,
    daemon: Process,
}

impl ContainerHost {
    /// A host as most tests want it.
    pub fn start() -> Result<Self> {
        Self::with(Setup::default())
    }

    /// A host made with `setup`.
    pub fn with(setup: Setup) -> Result<Self> {
        need("containerd", "containerd")?;
        need("runc", "runc")?;
        need("bridge", "containernetworking-plugins").or_else(|_| {
            let plugins = Path::new("/usr/lib/cni/bridge");
            plugins
                .exists()
                .then(|| plugins.to_owned())
                .context("no CNI plugins: apt install containernetworking-plugins")
        })?;
        sweep();
        let folder = new_folder()?;
        let whole = Teardown(&folder);
        let namespace = Namespace::create(&name(&folder))?;
        for part in ["lib", "run", "containerd", "certs.d", "declarations", "docker"] {
            fs::create_dir_all(folder.join(part))?;
        }
        if let Some(room) = &setup.room {
            let options = format!("size={room}");
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.join("lib")).run()?;
        }
        let containerd = start_containerd(&folder, &namespace)?;
        let manager = ServiceManager::start(&folder.join("notify.sock"))?;
        let daemon = start_daemon(&folder, &namespace, &setup)?;
        std::mem::forget(whole);
        Ok(Self { folder, setup, namespace, containerd, manager, daemon })
    }

    /// The folder that everything of this host is below: `lib` and `run` are keeld's, `containerd` is
    /// containerd's, `certs.d` describes registries, `declarations` holds declared containers.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What keeld keeps: its `--root`.
    pub fn root(&self) -> PathBuf {
        self.folder.join("lib")
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The running keeld.
    pub fn daemon(&self) -> &Process {
        &self.daemon
    }

    /// The service manager, which holds descriptors for keeld.
    pub fn manager(&self) -> &ServiceManager {
        &self.manager
    }

    /// The cgroup of its containers, without the `.slice` that it has where systemd runs.
    pub fn cgroup(&self) -> String {
        cgroup(&self.folder)
    }

    /// keeld's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("containers.sock")
    }

    /// Runs `keelctl WORDS` to its end; standard input is empty.
    pub fn keelctl(&self, words: &[&str]) -> Result<Run> {
        finish(self.keelctl_command()?.args(words))
    }

    /// As [`ContainerHost::keelctl`], which must succeed; gives what it printed, without the last line's end.
    pub fn ok(&self, words: &[&str]) -> Result<String> {
        let run = self.keelctl(words).and_then(|run| run.expect(0));
        let run = run.with_context(|| format!("keelctl {}", words.join(" ")))?;
        Ok(run.stdout.strip_suffix('\n').unwrap_or(&run.stdout).to_owned())
    }

    /// `keelctl`, not yet started, with this host's socket and a home of its own.
    pub fn keelctl_command(&self) -> Result<Command> {
        let mut command = Command::new(paths::program("keelctl")?);
        self.environment(&mut command);
        Ok(command)
    }

    /// Runs the stock `docker WORDS` against keeld.
    pub fn docker(&self, words: &[&str]) -> Result<Run> {
        finish(self.docker_command()?.args(words))
    }

    /// The stock `docker`, not yet started.
    pub fn docker_command(&self) -> Result<Command> {
        let mut command = Command::new(need("docker", "docker-cli (docker.io on Debian 12)")?);
        self.environment(&mut command);
        Ok(command)
    }

    /// Tells a client where keeld and containerd are, and gives it a home of its own.
    pub fn environment(&self, command: &mut Command) {
        let socket = format!("unix://{}", self.socket().display());
        command
            .env("KEELCTL_HOST", &socket)
            .env("DOCKER_HOST", socket)
            .env("HOME", &self.folder)
            .env("DOCKER_CONFIG", self.folder.join("docker"));
        command
            .env("CONTAINERD_ADDRESS", containerd_socket(&self.folder))
            .env("CONTAINERD_NAMESPACE", name(&self.folder));
        command.env_remove("REGISTRY_AUTH_FILE").stdin(Stdio::null());
    }

    /// `ctr` in keeld's namespace, which must succeed; gives what it printed.
    pub fn ctr(&self, words: &[&str]) -> Result<String> {
        Ok(self.ctr_command().args(words).output_text()?)
    }

    fn ctr_command(&self) -> Command {
        let mut command = self.namespace.command("ctr");
        command.arg("--address").arg(containerd_socket(&self.folder)).args(["--namespace", &name(&self.folder)]);
        command
    }

    /// Gives the host an image, by way of containerd: tests of `load` itself take
    /// [`ContainerHost::archive`].
    pub fn load(&self, image: &TestImage) -> Result<()> {
        let archive = self.archive(image)?;
        self.ctr(&["images", "import", &archive.to_string_lossy()])?;
        fs::remove_file(archive)?;
        Ok(())
    }

    /// Writes an image as a docker-archive below [`ContainerHost::folder`].
    pub fn archive(&self, image: &TestImage) -> Result<PathBuf> {
        let path = self.folder.join(format!("{}.tar", image.reference.replace(['/', ':'], "_")));
        image.write(&path)?;
        Ok(path)
    }

    /// Kills keeld at once, as a crash would. Nothing starts it again by itself.
    pub fn kill_daemon(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Ends keeld, if it runs, in the way systemd does, and starts it again.
    pub fn restart_daemon(&mut self) -> Result<()> {
        self.daemon.end(START)?;
        self.daemon = start_daemon(&self.folder, &self.namespace, &self.setup)?;
        Ok(())
    }

    /// Kills containerd at once.
    pub fn kill_containerd(&mut self) -> Result<()> {
        self.containerd.kill()
    }

    /// Ends containerd, if it runs, and starts it again.
    pub fn restart_containerd(&mut self) -> Result<()> {
        self.containerd.end(START)?;
        self.containerd = start_containerd(&self.folder, &self.namespace)?;
        Ok(())
    }

    /// What is left of containers that there are no more, after a few seconds for what ends by
    /// itself; one line a thing. Meant for when every container has been removed.
    pub fn leaks(&self) -> Vec<String> {
        leaks::settled(self)
    }

    /// Fails with [`ContainerHost::leaks`] when there are any.
    pub fn no_leaks(&self) -> Result<()> {
        let leaks = self.leaks();
        ensure!(leaks.is_empty(), "left behind:\n{}\n--- keeld\n{}", leaks.join("\n"), self.daemon.log_tail());
        Ok(())
    }
}

impl Drop for ContainerHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of keeld's log\n{}", self.daemon.log_tail());
        }
        // Whatever does not end is killed.
        let _ = self.daemon.end(Duration::from_secs(5));
        teardown(&self.folder);
    }
}

/// Where the shim keeps the state of runc.
pub(super) fn runc_state(folder: &Path) -> PathBuf {
    Path::new("/run/containerd/runc").join(name(folder))
}

/// containerd's socket.
pub(super) fn containerd_socket(folder: &Path) -> PathBuf {
    folder.join("containerd/containerd.sock")
}

fn start_containerd(folder: &Path, namespace: &Namespace) -> Result<Process> {
    let base = folder.join("containerd");
    let config = base.join("config.toml");
    let socket = containerd_socket(folder);
    let at = base.display();
    let lines = [
        "version = 2".to_owned(),
        format!("root = \"{at}/root\"\nstate = \"{at}/state\""),
        "disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.restart\", \
         \"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\", \
         \"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\"]"
            .to_owned(),
        format!("[grpc]\naddress = \"{}\"", socket.display()),
        format!("[plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{at}/opt\"\n"),
    ];
    fs::write(&config, lines.join("\n"))?;
    let mut command = namespace.command("containerd");
    let mut containerd = Process::start(command.arg("--config").arg(&config), &folder.join("containerd.log"))?;
    containerd.wait_ready(START, || UnixStream::connect(&socket).is_ok()).context("containerd did not start")?;
    Ok(containerd)
}

fn start_daemon(folder: &Path, namespace: &Namespace, setup: &Setup) -> Result<Process> {
    let socket = folder.join("containers.sock");
    let mut command = namespace.command(paths::program("keeld")?);
    command.args(["containers", "--runtime", "runc", "--cgroup", &format!("{}.slice", cgroup(folder))]);
    // The shim keeps the state of runc below /run/containerd/runc/NAMESPACE, wherever containerd is.
    command.args(["--namespace", &name(folder), "--containerd"]);
    command.arg(containerd_socket(folder)).arg("--socket").arg(&socket);
    for (option, part) in
        [("--root", "lib"), ("--run", "run"), ("--registries", "certs.d"), ("--declarations", "declarations")]
    {
        command.arg(option).arg(folder.join(part));
    }
    command.args(&setup.options).env("NOTIFY_SOCKET", folder.join("notify.sock"));
    let mut daemon = Process::start(&mut command, &folder.join("keeld.log"))?;
    daemon.wait_ready(START, || UnixStream::connect(&socket).is_ok()).context("keeld did not start")?;
    Ok(daemon)
}
