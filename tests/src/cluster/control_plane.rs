//! Owns [`ControlPlane`]: how it is started, spoken to, joined by machines and taken down.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keelson_common::command::CommandExt;

use super::identity::{Authority, Identity};
use super::kubeconfig::{Credentials, kubeconfig, write};
use super::{program, servers, setup};
use crate::containers::folder::{Teardown, name, new_folder, sweep, teardown};
use crate::containers::{Namespace, Process, eventually, need};
use crate::keelson::{Run, finish};
use crate::paths;

/// Its address, in a network that machines can be joined to.
pub const ADDRESS: &str = "198.51.100.1";
/// The bootstrap token that machines may join with.
pub const TOKEN: &str = "keel01.0123456789abcdef";
/// How long each stage of a start may take, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);
/// The network of the machines: a bridge in the control plane's namespace.
const BRIDGE: &str = "machines";

/// A running control plane; all of it is gone when dropped.
pub struct ControlPlane {
    folder: PathBuf,
    namespace: Namespace,
    authority: Authority,
    /// By name, in the order of their start.
    servers: Vec<(&'static str, Process)>,
}

impl ControlPlane {
    /// A new one, ready for nodes to join and pods to be made.
    pub fn start() -> Result<Self> {
        program("kubectl")?;
        need("etcd", "etcd-server")?;
        sweep();
        let folder = new_folder()?;
        let whole = Teardown(&folder);
        let namespace = Namespace::create(&name(&folder))?;
        namespace.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        namespace.ip(&["address", "add", &format!("{ADDRESS}/24"), "dev", BRIDGE])?;
        namespace.ip(&["link", "set", BRIDGE, "up"])?;
        let authority = setup::credentials(&folder, &server())?;
        std::mem::forget(whole);
        let mut plane = Self { folder, namespace, authority, servers: Vec::new() };
        plane.run_servers()?;
        plane.settle()?;
        Ok(plane)
    }

    fn run_servers(&mut self) -> Result<()> {
        self.run("etcd", servers::etcd(&self.namespace, &self.folder)?)?;
        self.run("kube-apiserver", servers::apiserver(&self.namespace, &self.folder)?)?;
        self.wait_ready("kube-apiserver", |plane| {
            plane.namespace.listens(servers::API) && plane.ok(&["get", "--raw=/readyz"]).is_ok()
        })?;
        self.run("kube-controller-manager", servers::controller_manager(&self.namespace, &self.folder)?)?;
        self.run("kube-scheduler", servers::scheduler(&self.namespace, &self.folder)?)?;
        self.wait_ready("kube-scheduler", |plane| plane.namespace.listens(servers::SCHEDULER))
    }

    /// Makes what machines join by, and waits until the controllers have done their first work.
    fn settle(&mut self) -> Result<()> {
        let joining = self.folder.join("joining.json");
        fs::write(&joining, setup::joining(&self.server(), &self.ca()?)?)?;
        let rights = paths::workspace().join("manifests/kubernetes/joining.yaml");
        let words = ["apply", "--filename", &rights.to_string_lossy(), "--filename", &joining.to_string_lossy()];
        // The API server is ready before the namespaces of the system are there.
        let mut applied = Ok(String::new());
        eventually(START, || {
            applied = self.ok(&words);
            applied.is_ok()
        });
        applied.context("cannot set the cluster up for machines to join")?;
        let limit = format!("--timeout={}s", START.as_secs());
        let account = ["wait", "--for=create", "serviceaccount/default", &limit];
        let signed = ["wait", "--namespace=kube-public", "configmap/cluster-info", &limit];
        let signature =
            format!("--for=jsonpath={{.data.jws-kubeconfig-{}}}", TOKEN.split('.').next().unwrap_or_default());
        for words in [account.as_slice(), &[signed.as_slice(), &[&signature]].concat()] {
            self.ok(words).with_context(|| self.logs("the controller manager does not do its work"))?;
        }
        Ok(())
    }

    /// The folder that everything of it is below; `pki` has its keys and certificates.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its servers by name.
    pub fn servers(&self) -> &[(&'static str, Process)] {
        &self.servers
    }

    /// Where the API server is, for its own namespace and for machines.
    pub fn server(&self) -> String {
        server()
    }

    /// The certificate of its authority, PEM.
    pub fn ca(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.authority.identity.certificate)?)
    }

    /// The hash of its authority's public key, `sha256:HEX`.
    pub fn ca_hash(&self) -> String {
        self.authority.hash()
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// Writes a kubeconfig for another, `NAME.kubeconfig` below [`ControlPlane::folder`].
    pub fn kubeconfig_for(&self, name: &str, credentials: &Credentials) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        write(&path, &kubeconfig(&self.server(), &self.ca()?, credentials))?;
        Ok(path)
    }

    /// Runs `kubectl WORDS` as an administrator to its end; standard input is empty.
    pub fn kubectl(&self, words: &[&str]) -> Result<Run> {
        finish(self.command(program("kubectl")?).stdin(Stdio::null()).args(words))
    }

    /// As [`ControlPlane::kubectl`], which must succeed; gives what it printed, without the last line's end.
    pub fn ok(&self, words: &[&str]) -> Result<String> {
        let run = self.kubectl(words).and_then(|run| run.expect(0));
        let run = run.with_context(|| format!("kubectl {}", words.join(" ")))?;
        Ok(run.stdout.strip_suffix('\n').unwrap_or(&run.stdout).to_owned())
    }

    /// A program in the control plane's namespace, not yet started, whose kubectl is an administrator's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.namespace.command(program);
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.folder);
        command
    }

    /// A client's key and certificate, below `pki`: the API server takes `user` for the name of a user
    /// and `group` for a group of theirs.
    pub fn identity(&self, name: &str, user: &str, group: Option<&str>) -> Result<Identity> {
        self.authority.client(name, user, group)
    }

    /// The first [`ControlPlane::machine`] that there is not yet, and its number.
    pub fn next_machine(&self) -> Result<(u8, Namespace)> {
        let taken = |number: &u8| Path::new(&format!("/run/netns/{}-{number}", self.namespace.name())).exists();
        let number = (2..255).find(|number| !taken(number)).context("the network has no room for another machine")?;
        Ok((number, self.machine(number)?))
    }

    /// A machine in the control plane's network: a namespace with the address 198.51.100.NUMBER,
    /// where the control plane's own is 1.
    pub fn machine(&self, number: u8) -> Result<Namespace> {
        ensure!((2..255).contains(&number), "no machine can have the address 198.51.100.{number}");
        let machine = Namespace::create(&format!("{}-{number}", self.namespace.name()))?;
        let port = format!("machine{number}");
        let link = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", machine.name()];
        self.namespace.ip(&link)?;
        self.namespace.ip(&["link", "set", &port, "master", BRIDGE, "up"])?;
        machine.ip(&["address", "add", &format!("198.51.100.{number}/24"), "dev", "eth0"])?;
        machine.ip(&["link", "set", "eth0", "up"])?;
        machine.ip(&["route", "add", "default", "via", ADDRESS])?;
        Ok(machine)
    }

    /// Takes an interface of this machine into its network: the cable of a virtual machine.
    pub fn plug(&self, interface: &str) -> Result<()> {
        Command::new("ip").args(["link", "set", interface, "netns", self.namespace.name()]).run()?;
        self.namespace.ip(&["link", "set", interface, "master", BRIDGE, "up"]).map(drop)
    }

    fn run(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let process = Process::start(&mut command, &self.folder.join(format!("{name}.log")))?;
        self.servers.push((name, process));
        Ok(())
    }

    /// Waits for a server, and fails when any of them ends meanwhile.
    fn wait_ready(&mut self, name: &str, ready: impl Fn(&Self) -> bool) -> Result<()> {
        // Asked once more, it might say no: it is said of a moment.
        let mut done = false;
        eventually(START, || {
            done = ready(self);
            done || self.servers.iter_mut().any(|(_, process)| process.has_ended())
        });
        ensure!(done, "{}", self.logs(&format!("{name} does not start")));
        Ok(())
    }

    /// `problem`, and the ends of all servers' logs.
    fn logs(&self, problem: &str) -> String {
        let logs = self.servers.iter().map(|(name, process)| format!("\n--- {name}\n{}", process.log_tail()));
        problem.to_owned() + &logs.collect::<String>()
    }
}

/// Where every control plane's API server is.
fn server() -> String {
    format!("https://{ADDRESS}:{}", servers::API)
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs("the control plane:"));
        }
        // Those who ask first, so that nobody waits for one that is gone; nothing of it is kept.
        while self.servers.pop().is_some() {}
        teardown(&self.folder);
    }
}
