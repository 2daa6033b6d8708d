//! Owns [`NodeRig`]: a machine with a containerd that Kubernetes' CRI is spoken to by, upstream's test
//! images in it, and the programs that make a node of it; how they are started, restarted, killed, and
//! how all of it is taken down.

mod containerd;
mod environment;
mod join;
mod left;
mod ours;
mod power;
mod upstream;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use keelson_common::command::CommandExt;

use super::control_plane::{ControlPlane, TOKEN};
use super::{Credentials, images};
use crate::containers::folder::{Teardown, cgroup, new_folder, teardown};
use crate::containers::{Namespace, Process, TestImage, need};

/// How long a program may take to start or to end, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// The machine's resolver is none: pods have the cluster's, and there is nobody else to ask.
const RESOLV_CONF: &str = "nameserver 192.0.2.53\n";

/// Which program is the node's agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// Upstream's kubelet, with upstream's kube-proxy beside it.
    Upstream,
    /// `keeld-node`.
    Ours,
}

/// Makes the command line of a program of a node, and the files it reads.
pub type Make = fn(&NodeRig) -> Result<Command>;

/// A machine with a containerd, and what runs on it; all of it is gone when dropped.
pub struct NodeRig {
    name: String,
    address: String,
    folder: PathBuf,
    namespace: Namespace,
    /// What a node joins by: where, the file of the authority's certificate, its hash, and a
    /// kubeconfig with the bootstrap token.
    server: String,
    authority: PathBuf,
    ca_hash: String,
    bootstrap: PathBuf,
    proxy: PathBuf,
    containerd: Process,
    programs: Vec<(&'static str, Make, Process)>,
}

impl NodeRig {
    /// A machine joined to the cluster's network, with a containerd that has all images, but no agent yet.
    pub fn start(cluster: &ControlPlane, name: &str) -> Result<Self> {
        Self::with_images(cluster, name, &images::all()?)
    }

    /// As [`NodeRig::start`], with no images but those that no node can do without: it is quicker, and
    /// needs none of upstream's test programs.
    pub fn small(cluster: &ControlPlane, name: &str) -> Result<Self> {
        Self::with_images(cluster, name, &images::small()?)
    }

    fn with_images(cluster: &ControlPlane, name: &str, images: &[TestImage]) -> Result<Self> {
        need("containerd", "containerd")?;
        need("runc", "runc")?;
        let folder = new_folder()?;
        let whole = Teardown(&folder);
        let (number, namespace) = cluster.next_machine()?;
        power::boot(&folder)?;
        let containerd = containerd::start(&folder, &namespace)?;
        let bootstrap = cluster.kubeconfig_for("bootstrap", &Credentials::Token(TOKEN.to_owned()))?;
        let proxy = cluster.identity("kube-proxy", "system:kube-proxy", None)?;
        let proxy = cluster.kubeconfig_for("kube-proxy", &Credentials::Certificate(proxy))?;
        std::mem::forget(whole);
        let rig = Self {
            name: name.to_owned(),
            address: format!("198.51.100.{number}"),
            folder,
            namespace,
            server: cluster.server(),
            authority: cluster.folder().join("pki/ca.crt"),
            ca_hash: cluster.ca_hash(),
            bootstrap,
            proxy,
            containerd,
            programs: Vec::new(),
        };
        for image in images {
            rig.load(image)?;
        }
        Ok(rig)
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The machine's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder that everything of it is below: logs are `NAME.log`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the agent keeps pods and volumes: a mount that is shared with containers.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Where containerd looks for the configuration of pods' networks.
    pub fn cni(&self) -> PathBuf {
        self.folder.join("cni")
    }

    /// containerd's socket.
    pub fn socket(&self) -> PathBuf {
        containerd::socket(&self.folder)
    }

    /// The cgroup that pods belong below, which exists.
    pub fn cgroup(&self) -> String {
        cgroup(&self.folder)
    }

    /// Its network namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// containerd.
    pub fn containerd(&self) -> &Process {
        &self.containerd
    }

    /// The node's agent, once it was started.
    pub fn agent(&self) -> Option<&Process> {
        self.programs.first().map(|(_, _, process)| process)
    }

    /// `ctr` in the namespace of pods, which must succeed; gives what it printed.
    pub fn ctr(&self, words: &[&str]) -> Result<String> {
        let mut command = self.namespace.command("ctr");
        command.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io"]);
        Ok(command.args(words).output_text()?)
    }

    /// Starts a program in the machine's network; the first that is started is the agent.
    pub fn run(&mut self, name: &'static str, make: Make) -> Result<()> {
        let process = Process::start(&mut make(self)?, &self.folder.join(format!("{name}.log")))?;
        self.programs.push((name, make, process));
        Ok(())
    }

    /// Ends a program, if it runs, in the way systemd does, and starts it again.
    pub fn restart(&mut self, name: &str) -> Result<()> {
        let program = self.programs.iter().position(|(known, _, _)| *known == name);
        let program = program.with_context(|| format!("{name} was never started"))?;
        self.programs[program].2.end(START)?;
        let (known, make, _) = self.programs[program];
        self.programs[program].2 = Process::start(&mut make(self)?, &self.folder.join(format!("{known}.log")))?;
        Ok(())
    }

    /// Kills a program at once, as a crash would. Nothing starts it again by itself.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let program = self.programs.iter_mut().find(|(known, _, _)| *known == name);
        program.with_context(|| format!("{name} was never started"))?.2.kill()
    }

    /// Ends containerd, if it runs, and starts it again; containers stay.
    pub fn restart_containerd(&mut self) -> Result<()> {
        self.containerd.end(START)?;
        self.containerd = containerd::start(&self.folder, &self.namespace)?;
        Ok(())
    }

    /// `problem`, and the ends of all logs.
    pub fn logs(&self, problem: &str) -> String {
        let programs = self.programs.iter().map(|(name, _, process)| (*name, process));
        let all = programs.chain([("containerd", &self.containerd)]);
        let logs = all.map(|(name, process)| format!("\n--- {name} of {}\n{}", self.name, process.log_tail()));
        problem.to_owned() + &logs.collect::<String>()
    }
}

impl Drop for NodeRig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs("the node:"));
        }
        // Whatever does not end is killed.
        for (_, _, process) in &mut self.programs {
            let _ = process.end(Duration::from_secs(5));
        }
        forget_logs(&self.folder);
        teardown(&self.folder);
    }
}

/// Makes a cgroup in every hierarchy of version 1 (version 2 is not used where there is one).
fn make_cgroup(name: &str) -> Result<()> {
    for hierarchy in fs::read_dir("/sys/fs/cgroup")?.flatten().map(|entry| entry.path()) {
        if !hierarchy.is_dir() || hierarchy.ends_with("unified") {
            continue;
        }
        let path = hierarchy.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        // A new one has no processors and takes no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(all) = fs::read_to_string(hierarchy.join(file)) {
                fs::write(path.join(file), all)?;
            }
        }
    }
    Ok(())
}

/// The kubelet keeps links to containers' logs where everybody looks for them, whatever its own folder.
fn forget_logs(folder: &Path) {
    for link in fs::read_dir("/var/log/containers").into_iter().flatten().flatten().map(|entry| entry.path()) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(folder)) {
            let _ = fs::remove_file(link);
        }
    }
}
