//! The verb `cluster upgrade`: a new version, one machine after another.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use indicatif::HumanBytes;
use keelson_common::commit::CommitInfo;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::Which;
use super::image;
use crate::cli::disk;
use crate::cluster::board::Board;
use crate::cluster::folder::{Lock, base};
use crate::cluster::plan::{Machine, Role};
use crate::cluster::power;
use crate::cluster::ready::api;
use crate::cluster::remote::Remote;
use crate::cluster::roll::drive::{Ended, Roll, Target};
use crate::cluster::state::Cluster;
use crate::cluster::stop::{Interrupted, Stop};
use crate::serve::{Sent, Server};

/// Bring a new version to a cluster, machine by machine
///
/// What the cluster was made of is composed again, and the repository served to its machines for as long as the
/// command runs. The master goes first, then one node after another: it downloads and stages the version, drains,
/// reboots, and has to run the version, be well, be Ready and be uncordoned before the next one is touched.
///
/// A machine that goes back to its old version by itself, or is not well in time, ends the roll: the others stay as
/// they are. After Ctrl-C too, a second `upgrade` goes on where the first one stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelson cluster upgrade\n  keelson cluster upgrade manifests/master.toml\n  \
    keelson cluster upgrade --no-compose                     # what the repository has already\n  \
    keelson cluster upgrade --to keelson/next/amd64 --nodes-only\n\n\
    Exit code: 0 when every machine has the version and is well, 1 when one does not, 130 after Ctrl-C.")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// This ref, or this commit that its ref stands at, as the repository has it
    #[arg(long, value_name = "COMMIT-OR-REF", conflicts_with = "target")]
    to: Option<String>,
    /// Compose nothing: take what the manifest's ref stands at
    #[arg(long)]
    no_compose: bool,
    /// Leave the master as it is
    #[arg(long)]
    nodes_only: bool,
    /// Give a machine up after so many seconds: it drains and boots in them, is judged, and may go back
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Print one JSON document: version, checksum, machines, bytes (how many were sent)
    #[arg(long)]
    json: bool,
    /// A manifest or a ref [default: what the cluster was made of]
    #[arg(value_name = "MANIFEST-OR-REF")]
    target: Option<String>,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let folder = args.which.folder()?;
    let _lock = Lock::take(&base()?, &args.which.name)?;
    let cluster = folder.cluster()?;
    for machine in &cluster.machines {
        ensure!(power::is_on(&folder, machine), "{} is off: a cluster is upgraded when all are on", machine.name);
    }
    let target = target(&args, &cluster)?;
    let stop = Stop::on_signals()?;
    let serving = Serving::start(&cluster)?;
    let machines: Vec<&Machine> =
        cluster.machines.iter().filter(|machine| !args.nodes_only || machine.role == Role::Node).collect();
    let board = Board::new(machines.iter().map(|machine| &*machine.name));
    let roll = Roll {
        folder: &folder,
        remote: &Remote::new(&folder)?,
        api: &api(&folder, &cluster)?,
        board: &board,
        stop: &stop,
        target: &target,
        limit: Duration::from_secs(args.timeout),
    };
    let mut ended = Vec::new();
    for machine in &machines {
        match roll.machine(machine) {
            Ok(how) => {
                let word = if how == Ended::Already { "has had" } else { "has" };
                board.finish(&machine.name, &format!("{word} version {}, and is well", target.label()));
                ended.push((machine.name.clone(), how));
            }
            Err(error) => {
                board.leave();
                return Err(stopped(error, machine, &machines, ended.len(), &target));
            }
        }
    }
    board.leave();
    tell(&args, &target, &ended, serving.sent.bytes());
    let mut cluster = cluster.clone();
    (cluster.source.commit, cluster.source.reference) = (Some(target.checksum), Some(target.reference));
    cluster.write(&folder.cluster_file())?;
    Ok(ExitCode::SUCCESS)
}

/// What ended a roll, and how far it came.
fn stopped(error: anyhow::Error, at: &Machine, all: &[&Machine], done: usize, target: &Target) -> anyhow::Error {
    let left: Vec<&str> = all.iter().skip(done + 1).map(|machine| &*machine.name).collect();
    let left = if left.is_empty() { "no other machine".to_owned() } else { left.join(", ") };
    if error.is::<Interrupted>() {
        return error.context(format!("stopped at {}; a second `keelson cluster upgrade` goes on from there", at.name));
    }
    error.context(format!("{} did not come to version {}; left as before: {left}", at.name, target.label()))
}

/// The version to bring about, made first where it is to be.
fn target(args: &Args, cluster: &Cluster) -> Result<Target> {
    let (repo, cache) = (&cluster.source.repo, &cluster.source.cache);
    let reference = match &args.to {
        Some(to) if is_checksum(to) => {
            let reference = cluster.source.reference.clone();
            reference.context("the cluster was made of a disk, and follows no ref of this repository: name a ref")?
        }
        Some(to) => to.clone(),
        None => {
            let target = args.target.as_deref().unwrap_or(&cluster.source.target);
            image::reference(target, repo, cache, !args.no_compose)?
        }
    };
    let checksum = disk::resolve(repo, &reference)?;
    if let Some(to) = args.to.as_ref().filter(|to| is_checksum(to))
        && *to != checksum
    {
        bail!("hosts take what their ref stands at: {reference} stands at {checksum}, not at {to}");
    }
    Ok(Target { version: version(repo, &checksum)?, reference, checksum })
}

fn is_checksum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a commit calls itself.
fn version(repo: &Path, checksum: &str) -> Result<Option<String>> {
    let opened = ostree::Repo::new_for_path(repo);
    opened.open(gio::Cancellable::NONE).with_context(|| format!("cannot open {}", repo.display()))?;
    let (commit, _) = opened.load_commit(checksum).with_context(|| format!("cannot load commit {checksum}"))?;
    Ok(CommitInfo::from_variant(&commit).version)
}

fn tell(args: &Args, target: &Target, ended: &[(String, Ended)], sent: u64) {
    let updated = ended.iter().filter(|(_, how)| *how == Ended::Updated).count();
    if args.json {
        let machines: Vec<_> =
            ended.iter().map(|(name, how)| json!({ "name": name, "updated": *how == Ended::Updated })).collect();
        let document =
            json!({ "version": target.version, "checksum": target.checksum, "machines": machines, "bytes": sent });
        println!("{document:#}");
    } else if updated == 0 {
        println!("nothing is newer: every machine has version {}", target.label());
    } else {
        let sent = HumanBytes(sent);
        println!("{updated} of {} machines were brought to version {}; {sent} were sent", ended.len(), target.label());
    }
}

/// A server of the repository, where the cluster's hosts look for updates; dropping it ends it.
struct Serving {
    sent: Sent,
    _stop: oneshot::Sender<()>,
    _runtime: Runtime,
}

impl Serving {
    fn start(cluster: &Cluster) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let address = format!("127.0.0.1:{}", cluster.update_port);
        let server = runtime
            .block_on(Server::bind(&cluster.source.repo, &address))
            .context("the cluster's hosts look for updates there, and nowhere else")?;
        let sent = server.sent();
        let (stop, stopped) = oneshot::channel::<()>();
        runtime.spawn(server.run(async {
            // An error is the sender's end, which is what is waited for.
            let _ = stopped.await;
        }));
        Ok(Self { sent, _stop: stop, _runtime: runtime })
    }
}
