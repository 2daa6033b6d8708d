//! The verb `cluster up`: a new cluster, until all its machines are Ready.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keelson_common::fs::atomic_write;
use keelson_common::kubeconfig::{Credentials, kubeconfig};
use keelson_qemu::accel;
use keelson_qemu::version::{self, Version};
use serde_json::{Value, json};

use super::Which;
use super::image::{Image, image};
use crate::cluster::authority::{Secrets, random};
use crate::cluster::board::Board;
use crate::cluster::folder::{Folder, Lock, base, names};
use crate::cluster::plan::{self, MOST_NODES, Machine, Sizes};
use crate::cluster::ready::Wait;
use crate::cluster::remote::Remote;
use crate::cluster::state::{Cluster, Source};
use crate::cluster::status::aligned;
use crate::cluster::stop::{Interrupted, Stop};
use crate::cluster::{documents, power};

/// Make a cluster and wait until all its machines are Ready
///
/// A manifest is composed first, and a disk made of it, as `keelson run` does; then a master and its nodes are
/// switched on, each with a disk of its own on top of that one, and told by user-data what they are. They stay on
/// when the command has ended.
///
/// Ctrl-C or an error clears away what was made; --keep leaves it, to look into.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson cluster up\n  keelson cluster up --nodes 3 --memory 1536 --name test\n  \
    keelson cluster up --user-data extra.yaml keelson/master/amd64    # a ref that was composed before\n  \
    keelson cluster up --keep --timeout 600 && kubectl --kubeconfig ~/.local/state/keelson/clusters/keelson/kubeconfig get nodes\n\n\
    Exit code: 0 when all are Ready, 1 when not, 2 on wrong usage, 130 after Ctrl-C.")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// How many nodes
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_NODES)))]
    nodes: u32,
    /// Memory of each node in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(512..))]
    memory: u32,
    /// Memory of the master in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1024..))]
    master_memory: u32,
    /// Virtual CPUs of each node
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    cpus: u32,
    /// Virtual CPUs of the master, all of whose programs start at once [default: 2, or 1 where this machine has one or
    /// its QEMU cannot do with two]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=64))]
    master_cpus: Option<u32>,
    /// A cloud-config for the nodes besides what makes them nodes: lists are put together, and of two values the
    /// one that the cluster needs stays. What YAML 1.1 has another value for, as 0644 or 22:30, is put in quotes
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Write the kubeconfig here too; not over a file that there is
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Give up when not all are Ready after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1200, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Leave what was made after Ctrl-C or an error
    #[arg(long)]
    keep: bool,
    /// Print one JSON document: name, kubeconfig, server, machines
    #[arg(long)]
    json: bool,
    /// The repository that is composed to, and that refs are looked up in
    #[arg(long, value_name = "DIR", default_value = crate::cli::DEFAULT_REPO)]
    repo: PathBuf,
    /// Folder of disks, downloads and other things that can be made again
    #[arg(long, value_name = "DIR", default_value = crate::cli::DEFAULT_CACHE)]
    cache: PathBuf,
    /// A manifest (.toml), a ref of the repository, or a disk file
    #[arg(value_name = "MANIFEST-OR-REF", default_value = "manifests/master.toml")]
    target: String,
}

/// What a master has by default. A QEMU that cannot be asked is told of when a machine is started.
fn usual_master_cpus() -> u32 {
    let alone = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1);
    let takes_two = || {
        let Ok(version) = Version::installed() else { return true };
        version::check(version, accel::choose(version), 2).is_ok()
    };
    if alone || !takes_two() { 1 } else { 2 }
}

fn sizes(args: &Args) -> Sizes {
    Sizes {
        nodes: args.nodes,
        memory: args.memory,
        master_memory: args.master_memory,
        cpus: args.cpus,
        master_cpus: args.master_cpus.unwrap_or_else(usual_master_cpus),
    }
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let base = base()?;
    let folder = args.which.folder()?;
    let sizes = sizes(&args);
    let machines = plan::machines(&args.which.name, sizes)?;
    let lock = Lock::take(&base, &args.which.name)?;
    refuse_existing(&folder, &args.which.name)?;
    let extra = extra(&args, &machines)?;
    if let Some(file) = &args.kubeconfig {
        ensure!(!file.exists(), "{} is there already: name another file, or remove it", file.display());
        let parent = std::path::absolute(file).ok().and_then(|file| file.parent().map(Path::is_dir));
        ensure!(parent == Some(true), "there is no folder for {}", file.display());
    }
    Version::installed()?;
    let Image { path, ours, source } = image(&args.target, &args.repo, &args.cache)?;
    let others = others(&base);
    let networks: Vec<_> = others.iter().map(|other| other.network.clone()).collect();
    let ports: Vec<_> = others.iter().map(|other| other.update_port).collect();
    let network = plan::network(random()?, &networks);
    let cluster = Cluster::new(&args.which.name, source, plan::port(random()?, &ports), network, machines);
    // From here on there is something to clear away.
    let stop = Stop::on_signals()?;
    let mut guard = Guard { folder: &folder, keep: args.keep, armed: true };
    folder.make()?;
    let made = power::base_disk(&folder, &path, ours).and_then(|()| {
        let begin = Instant::now();
        let up = Up { args: &args, folder: &folder, stop: &stop, extra: &extra };
        Ok((up.run(cluster)?, begin.elapsed()))
    });
    let (cluster, took) = match made {
        // A terminal's Ctrl-C ends the programs that we run too: that one of them failed came of it.
        Err(_) if stop.requested() => return Err(Interrupted.into()),
        made => made?,
    };
    guard.armed = false;
    drop(lock);
    tell(&args, &folder, &cluster, took)?;
    Ok(ExitCode::SUCCESS)
}

fn refuse_existing(folder: &Folder, name: &str) -> Result<()> {
    let running = power::running(folder);
    if !folder.path().exists() && running.is_empty() {
        return Ok(());
    }
    let down = format!("`keelson cluster down --name {name}`");
    match folder.cluster() {
        Ok(cluster) if cluster.complete && !running.is_empty() => bail!(
            "there is a cluster {name}, with {} of {} machines on: {down} ends it, and --name makes another beside it",
            running.len(),
            cluster.machines.len()
        ),
        Ok(cluster) if cluster.complete => bail!("there is a cluster {name} whose machines are off: {down} first"),
        _ => bail!("there is something left of a cluster {name} that never was whole: {down} first"),
    }
}

/// What a person wrote for the nodes, judged as their hosts will.
fn extra(args: &Args, machines: &[Machine]) -> Result<Value> {
    let Some(file) = &args.user_data else { return Ok(json!({})) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let extra = documents::read(&text).with_context(|| file.display().to_string())?;
    // As the cluster will be, but for what hosts do not judge.
    let network = plan::network(random()?, &[]);
    let draft = Cluster::new(&args.which.name, Source::default(), 1, network, machines.to_vec());
    documents::check(&draft, &Secrets::new()?, &extra).with_context(|| file.display().to_string())?;
    Ok(extra)
}

/// The other clusters that can be read, whose ports are theirs.
fn others(base: &Path) -> Vec<Cluster> {
    let folders = names(base).into_iter().filter_map(|name| Folder::of(base, &name).ok());
    folders.filter_map(|folder| folder.cluster().ok()).collect()
}

/// Clears away what was made unless it came to be whole.
struct Guard<'a> {
    folder: &'a Folder,
    keep: bool,
    armed: bool,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let name = self.folder.path().file_name().unwrap_or_default().display();
        if self.keep {
            eprintln!("keelson: what was made of {name} stays in {}", self.folder.path().display());
        } else if let Err(error) = power::end(self.folder).and_then(|()| self.folder.remove()) {
            eprintln!("keelson: not all of {name} was cleared away: {error:#}; `keelson cluster down --name {name}`");
        }
    }
}

/// Bringing a cluster up.
struct Up<'a> {
    args: &'a Args,
    folder: &'a Folder,
    stop: &'a Stop,
    extra: &'a Value,
}

impl Up<'_> {
    fn run(&self, mut cluster: Cluster) -> Result<Cluster> {
        let file = self.folder.cluster_file();
        cluster.write(&file)?;
        let secrets = Secrets::new()?;
        let remote = Remote::new(self.folder)?;
        self.keep_secrets(&secrets)?;
        let board = Board::new(cluster.machines.iter().map(|machine| &*machine.name));
        let names: Vec<String> = cluster.machines.iter().map(|machine| machine.name.clone()).collect();
        for (index, name) in names.iter().enumerate() {
            self.stop.check()?;
            board.set(name, "switching on");
            let seed = documents::seed(&cluster, &cluster.machines[index], &secrets, remote.public(), self.extra)?;
            power::prepare(self.folder, &cluster.machines[index], &seed)?;
            self.stop.check()?;
            let mut machine = cluster.machines[index].clone();
            power::on(self.folder, &cluster, &mut machine)?;
            cluster.machines[index] = machine;
            cluster.write(&file)?;
        }
        let administrator = Credentials::Certificate(&secrets.administrator);
        let config = kubeconfig(&cluster.name, &cluster.api()?, &secrets.authority.certificate, administrator);
        let text = format!("{config:#}\n");
        write_secret(&self.folder.kubeconfig(), &text)?;
        if let Some(further) = &self.args.kubeconfig {
            cluster.kubeconfig = Some(further_kubeconfig(further, &text)?);
            cluster.write(&file)?;
        }
        let limit = Duration::from_secs(self.args.timeout);
        Wait { folder: self.folder, cluster: &cluster, remote: &remote, board: &board, stop: self.stop }
            .all_ready(limit)?;
        cluster.complete = true;
        cluster.write(&file)?;
        Ok(cluster)
    }

    /// What `status` and `upgrade` ask the API by. The authority's key is in the master's seed alone.
    fn keep_secrets(&self, secrets: &Secrets) -> Result<()> {
        let (certificate, key) = self.folder.administrator();
        write_secret(&self.folder.authority(), &secrets.authority.certificate)?;
        write_secret(&certificate, &secrets.administrator.certificate)?;
        write_secret(&key, &secrets.administrator.key)
    }
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    atomic_write(path, text.as_bytes(), 0o600).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the kubeconfig where the person wants it too; gives that file's whole path.
fn further_kubeconfig(path: &Path, text: &str) -> Result<PathBuf> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(cannot)?;
    file.write_all(text.as_bytes()).with_context(cannot)?;
    path.canonicalize().with_context(cannot)
}

fn tell(args: &Args, folder: &Folder, cluster: &Cluster, took: Duration) -> Result<()> {
    let kubeconfig = cluster.kubeconfig.clone().unwrap_or_else(|| folder.kubeconfig());
    if args.json {
        let document = json!({
            "name": cluster.name,
            "folder": folder.path(),
            "kubeconfig": kubeconfig,
            "server": cluster.api()?,
            "commit": cluster.source.commit,
            "seconds": took.as_secs_f64(),
            "machines": cluster.machines,
        });
        println!("{document:#}");
        return Ok(());
    }
    let mut rows = vec![["NAME", "ADDRESS", "SSH"].map(str::to_owned)];
    rows.extend(cluster.machines.iter().map(|machine| {
        let port = machine.ssh_port.map_or("-".to_owned(), |port| format!("127.0.0.1:{port}"));
        [machine.name.clone(), machine.address.to_string(), port]
    }));
    let name = if cluster.name == "keelson" { String::new() } else { format!(" --name {}", cluster.name) };
    println!("{}", aligned(&rows));
    println!("All Ready after {} s. The API server is {}.\n", took.as_secs(), cluster.api()?);
    println!("  export KUBECONFIG={}", kubeconfig.display());
    println!("  kubectl get nodes");
    println!("  keelson cluster ssh{name} node1");
    println!("  keelson cluster upgrade{name}    # a new version, machine by machine");
    println!("  keelson cluster down{name}");
    Ok(())
}
